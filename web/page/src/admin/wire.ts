/** What the server says of documents; see its contracts. */

export type CollectionName = "recipes" | "sess" | "session";

export interface CollectionView {
  readonly name: CollectionName;
  readonly title: string;
  readonly count: number;
  readonly bytes: number;
  readonly only_id: string | null;
}

export interface DocumentRow {
  readonly id: string;
  readonly name: string;
  readonly preview: string;
  readonly bytes: number;
}

export interface DocumentPage {
  readonly items: readonly DocumentRow[];
  readonly next: number | null;
  readonly total: number;
}

/** A document in one version. */
export interface Version {
  readonly text: string;
  readonly tag: string;
}
