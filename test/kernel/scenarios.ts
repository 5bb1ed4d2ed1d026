import { baseline } from './scenarios/baseline.ts';
import { userSpaceThroughStock } from './scenarios/stock-path.ts';
import type { World } from './world.ts';

/** What a scenario is run with. */
export interface Means {
  /** A folder with strongSwan. */
  readonly root: string;
  say(text: string): void;
}

/** What a scenario has measured: "download MB/s": 7.1. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly title: string;
  /** In a world of its own, which is closed afterwards. @throws Error what is not as it should be */
  run(world: World, means: Means): Promise<Figures>;
}

/** By the names that `--only` takes. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  baseline,
  b: userSpaceThroughStock,
};
