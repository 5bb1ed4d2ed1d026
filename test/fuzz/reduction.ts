import type { Attack, Input } from './attack.ts';

/**
 * An attack with as few inputs as still fail: leaves out ever smaller parts as long as that can be done.
 * @param fails - whether an attack fails, in the same way
 */
export function minimal(attack: Attack, fails: (attack: Attack) => boolean): Attack {
  const with_ = (inputs: readonly Input[]): Attack => ({ ...attack, inputs });
  let inputs = attack.inputs;
  if (!fails(attack)) return attack;
  for (let part = inputs.length >> 1; part >= 1; part = part === 1 ? 0 : part >> 1) {
    for (let at = 0; at < inputs.length; ) {
      const fewer = [...inputs.slice(0, at), ...inputs.slice(at + part)];
      if (fails(with_(fewer))) inputs = fewer;
      else at += part;
    }
  }
  return with_(inputs);
}
