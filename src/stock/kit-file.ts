/** A file of a router's configuration. */
export interface KitFile {
  /** Where it belongs, below /etc. */
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}
