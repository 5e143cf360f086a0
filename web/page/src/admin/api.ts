/** The documents' HTTP interface. */

import { Problem } from "@downstage/viewer";
import { Http } from "../http";
import type { CollectionView, DocumentPage, Version } from "./wire";

export const PAGE = 50;

const place = (collection: string, id: string): string =>
  `/v1/documents/${encodeURIComponent(collection)}/${encodeURIComponent(id)}`;

export class AdminApi extends Http {
  async collections(): Promise<readonly CollectionView[]> {
    return (await this.json<{ items: CollectionView[] }>("GET", "/v1/documents")).items;
  }

  page(collection: string, text: string, after: number): Promise<DocumentPage> {
    const query = new URLSearchParams({ text, after: String(after), limit: String(PAGE) });
    return this.json("GET", `/v1/documents/${encodeURIComponent(collection)}?${query.toString()}`);
  }

  /** A document as it stands; null where there is none. */
  async read(collection: string, id: string): Promise<Version | null> {
    try {
      return await versionOf(await this.fetch("GET", place(collection, id)));
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return null;
      throw error;
    }
  }

  /** Write a document, if it still has the *tag*; null: if there is none yet. */
  async write(collection: string, id: string, text: string, tag: string | null): Promise<Version> {
    const body = new Blob([text], { type: "application/json" });
    const headers: Record<string, string> = tag === null ? { "If-None-Match": "*" } : { "If-Match": tag };
    return versionOf(await this.fetch("PUT", place(collection, id), body, { headers }));
  }

  async remove(collection: string, id: string, tag: string): Promise<void> {
    await this.fetch("DELETE", place(collection, id), undefined, { headers: { "If-Match": tag } });
  }
}

async function versionOf(answer: Response): Promise<Version> {
  return { text: await answer.text(), tag: answer.headers.get("etag") ?? "" };
}
