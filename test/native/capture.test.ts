import { describe, expect, it } from 'vitest';
import type { CapturedFrame } from '../../src/native/native.ts';
import { native, udpIn, wire, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

const holds = (frames: readonly CapturedFrame[], text: string) =>
  frames.find(({ bytes }) => Buffer.from(bytes).includes(text));

describe('capture', () => {
  it('sees the frames of both directions in order, with their times', () =>
    withNamespaces(2, async (a, b) => {
      const { name, a4, b4 } = await wire(a, b);
      const before = Date.now() * 1000;
      const capture = within(a, () => native().openCapture(name));
      const frames: CapturedFrame[] = [];
      capture.start((frame) => frames.push(frame));
      const udpA = udpIn(a, a4);
      const udpB = udpIn(b, b4);
      udpA.send(Buffer.from('question'), b4, udpB.port);
      await until('the question', () => udpB.received.length === 1);
      udpB.send(Buffer.from('answer'), a4, udpA.port);
      const question = await until('the frame out', () => holds(frames, 'question'));
      const answer = await until('the frame in', () => holds(frames, 'answer'));
      expect(frames.indexOf(question)).toBeLessThan(frames.indexOf(answer));
      expect(question.micros).toBeGreaterThan(before);
      expect(answer.micros).toBeGreaterThanOrEqual(question.micros);
      expect(answer.micros).toBeLessThanOrEqual((Date.now() + 1) * 1000);
      udpA.close();
      udpB.close();
      capture.close();
    }));

  it('starts on an interface that is down, and goes on when it comes up', () =>
    withNamespaces(2, async (a, b) => {
      const { name, a4, b4 } = await wire(a, b);
      await a.exec(['ip', 'link', 'set', name, 'down']);
      const capture = within(a, () => native().openCapture(name));
      const frames: CapturedFrame[] = [];
      capture.start((frame) => frames.push(frame));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await a.exec(['ip', 'link', 'set', name, 'up']);
      const udpB = udpIn(b, b4);
      await until('a frame', () => {
        udpB.send(Buffer.from('hello'), a4, 9);
        return holds(frames, 'hello');
      });
      udpB.close();
      capture.close();
    }));

  it('names an interface that is not there', () => {
    expect(() => native().openCapture('nowhere')).toThrow(/'nowhere': ENODEV; there is no such interface/);
  });
});
