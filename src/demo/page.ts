/** What the page server tells the demo. */
export type PageServerMessage =
  /** `samples` are 32 letters each from anywhere in the page. */
  | { readonly type: 'ready'; readonly sha256: string; readonly samples: readonly string[] }
  /** `from` is the address that a request came from. */
  | { readonly type: 'request'; readonly from: string };

/** What the fetcher prints. */
export interface FetchedPage {
  readonly status: number;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}
