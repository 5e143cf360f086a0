/** The content service's HTTP interface, as much of it as the page uses. */

import { Problem } from "@downstage/viewer";
import { Http } from "../http";
import { crumbs, encodePath } from "./names";
import type { Entry, FileLock, FileVersion, FolderPage, Grant, People, Present, Right } from "./wire";

const PAGE = 1000;
/** Entries of one folder that the page shows; a person who has more searches by other means. */
const MOST = 10_000;

export interface Listing {
  readonly entries: readonly Entry[];
  readonly seq: number;
  readonly isWhole: boolean;
}

export class FilesApi extends Http {
  async list(folder: string): Promise<Listing> {
    const entries: Entry[] = [];
    let after = "", seq = 0;
    do {
      const query = new URLSearchParams({ limit: String(PAGE), after });
      const page = await this.json<FolderPage>(
        "GET", `/v1/files${encodePath(folder === "/" ? "/" : folder)}?${query.toString()}`,
      );
      entries.push(...page.entries);
      // The first page's number: what changed while the others came is then told as an event.
      if (after === "") seq = page.seq;
      after = page.next;
    } while (after !== "" && entries.length < MOST);
    return { entries, seq, isWhole: after === "" };
  }

  stat(path: string): Promise<Entry> {
    return this.json("GET", `/v1/files${encodePath(path)}?stat`);
  }

  /** The bytes of a file, or of one of its checkpoints. */
  async bytes(path: string, checkpoint = 0): Promise<Blob> {
    const query = checkpoint === 0 ? "" : `?checkpoint=${String(checkpoint)}`;
    return (await this.fetch("GET", `/v1/files${encodePath(path)}${query}`)).blob();
  }

  /** A small picture of a stage, PNG; null where there is none. */
  async thumbnail(path: string, checkpoint = 0): Promise<Blob | null> {
    const query = new URLSearchParams({ path });
    if (checkpoint !== 0) query.set("checkpoint", String(checkpoint));
    try {
      const answer = await this.fetch("GET", `/v1/files-thumbnails?${query.toString()}`, undefined, { deadline: 60_000 });
      return await answer.blob();
    } catch (error) {
      if (error instanceof Problem) return null;
      throw error;
    }
  }

  async link(path: string): Promise<string> {
    return (await this.json<{ url: string }>("POST", "/v1/files-links", { path })).url;
  }

  makeFolder(path: string): Promise<Entry> {
    return this.json("POST", "/v1/files-folders", { path });
  }

  move(source: string, target: string): Promise<Entry> {
    return this.json("POST", "/v1/files-move", { source, target });
  }

  copy(source: string, target: string): Promise<Entry> {
    return this.json("POST", "/v1/files-copy", { source, target });
  }

  async remove(path: string): Promise<void> {
    await this.fetch("DELETE", `/v1/files${encodePath(path)}`);
  }

  undelete(path: string): Promise<Entry> {
    return this.json("POST", "/v1/files-undelete", { path });
  }

  async checkpoints(path: string): Promise<readonly FileVersion[]> {
    const query = new URLSearchParams({ path });
    return (await this.json<{ items: FileVersion[] }>(
      "GET", `/v1/files-checkpoints?${query.toString()}`,
    )).items;
  }

  keep(path: string, comment: string): Promise<FileVersion> {
    return this.json("POST", "/v1/files-checkpoints", { path, comment });
  }

  restore(path: string, checkpoint: number): Promise<Entry> {
    return this.json("POST", "/v1/files-restore", { path, checkpoint });
  }

  async locks(path: string): Promise<readonly FileLock[]> {
    const query = new URLSearchParams({ path });
    return (await this.json<{ items: FileLock[] }>("GET", `/v1/files-locks?${query.toString()}`)).items;
  }

  lock(path: string): Promise<FileLock> {
    return this.json("POST", "/v1/files-locks", { path });
  }

  async unlock(path: string, token: string, force: boolean): Promise<void> {
    await this.fetch("POST", "/v1/files-locks/release", { path, token, force });
  }

  async rights(path: string): Promise<readonly Right[]> {
    const query = new URLSearchParams({ path });
    return (await this.json<{ items: Right[] }>("GET", `/v1/files-acl?${query.toString()}`)).items;
  }

  async setRights(path: string, items: readonly Right[]): Promise<void> {
    await this.fetch("PUT", "/v1/files-acl", { path, items });
  }

  /** Entries of the folders above *path*, the nearest first: they count where it has none. */
  async inherited(path: string): Promise<readonly Grant[]> {
    const above = crumbs(path).slice(0, -1).reverse();
    const found = await Promise.all(above.map(async (crumb) =>
      (await this.rights(crumb.path)).map((right) => ({ ...right, path: crumb.path }))));
    return found.flat();
  }

  people(): Promise<People> {
    return this.json("GET", "/v1/files-people");
  }

  /** Who has *path* open live. */
  async present(path: string): Promise<readonly Present[]> {
    const query = new URLSearchParams({ path });
    return (await this.json<{ items: Present[] }>("GET", `/v1/files-live?${query.toString()}`)).items;
  }
}
