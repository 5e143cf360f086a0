/** What `/v1/files` answers: see the reference of the content service. Times are nanoseconds. */

export type Kind = "folder" | "file" | "channel" | "mount";

export interface Entry {
  readonly id: number;
  readonly path: string;
  readonly name: string;
  readonly kind: Kind;
  readonly size: number;
  readonly hash: string;
  readonly etag: string;
  readonly version: number;
  readonly created_at: number;
  readonly created_by: string;
  readonly modified_at: number;
  readonly modified_by: string;
  readonly access: number;
  readonly flags: number;
  readonly locked_by: string;
  readonly lock_expires_at: number;
  readonly link: string;
}

export interface FolderPage {
  readonly entries: readonly Entry[];
  readonly next: string;
  readonly seq: number;
}

export interface FileVersion {
  readonly n: number;
  readonly checkpoint: number;
  readonly hash: string;
  readonly size: number;
  readonly by: string;
  readonly at: number;
  readonly comment: string;
}

export interface FileLock {
  readonly path: string;
  readonly token: string;
  readonly owner: string;
  readonly expires_at: number;
}

export interface Right {
  readonly principal: string;
  readonly allow: number;
  readonly deny: number;
}

export interface Grant extends Right {
  readonly path: string;
}

export interface Person {
  readonly subject: string;
  readonly name: string;
  readonly groups: readonly string[];
}

export interface People {
  readonly users: readonly Person[];
  readonly groups: readonly string[];
}

/** Somebody who has a live stage open. */
export interface Present {
  readonly name: string;
  readonly since: number;
}

export const READ = 1;
export const WRITE = 2;
export const ADMIN = 4;
