/** Files on their way up: a few at a time, each with progress, resumed after a break. */

import { Upload as Tus } from "tus-js-client";
import type { FilesApi } from "./api";
import { join } from "./names";

const AT_ONCE = 2;
const PIECE = 8 * 1024 * 1024;
const RETRIES_MS = [0, 1000, 3000, 5000, 10_000];

export type UploadState = "waiting" | "going" | "paused" | "done" | "failed";

export interface Upload {
  readonly path: string;
  readonly size: number;
  sent: number;
  state: UploadState;
  error: string;
}

interface Job extends Upload {
  readonly file: File;
  tus: Tus | null;
}

export class Uploads {
  readonly #api: FilesApi;
  readonly #changed: () => void;
  readonly #arrived: (path: string) => void;
  #jobs: Job[] = [];

  /** *changed* is called at every step; *arrived* when a file is there. */
  constructor(api: FilesApi, changed: () => void, arrived: (path: string) => void) {
    this.#api = api;
    this.#changed = changed;
    this.#arrived = arrived;
  }

  get all(): readonly Upload[] {
    return this.#jobs;
  }

  get isBusy(): boolean {
    return this.#jobs.some((job) => job.state === "going" || job.state === "waiting");
  }

  /** Queue *file* for *folder*; *relative* is where below it, for folders that were dropped. */
  add(folder: string, file: File, relative = file.name): void {
    const path = relative.split("/").reduce(join, folder);
    this.#jobs = this.#jobs.filter((job) => job.path !== path || job.state === "going");
    this.#jobs.push({ path, file, size: file.size, sent: 0, state: "waiting", error: "", tus: null });
    this.#next();
  }

  pause(upload: Upload): void {
    const job = this.#find(upload);
    if (job?.state !== "going" || !job.tus) return;
    job.state = "paused";
    void job.tus.abort();
    this.#next();
  }

  resume(upload: Upload): void {
    const job = this.#find(upload);
    if (!job || (job.state !== "paused" && job.state !== "failed")) return;
    job.state = "waiting";
    job.error = "";
    this.#next();
  }

  /** Forget it; what was sent so far is thrown away on the server too. */
  cancel(upload: Upload): void {
    const job = this.#find(upload);
    if (!job) return;
    this.#jobs = this.#jobs.filter((one) => one !== job);
    if (job.state !== "done") void job.tus?.abort(true).catch(() => undefined);
    this.#next();
  }

  clear(): void {
    this.#jobs = this.#jobs.filter((job) => job.state !== "done");
    this.#changed();
  }

  #find(upload: Upload): Job | undefined {
    return this.#jobs.find((job) => job === upload);
  }

  #next(): void {
    const going = this.#jobs.filter((job) => job.state === "going").length;
    for (const job of this.#jobs.filter((one) => one.state === "waiting").slice(0, AT_ONCE - going)) {
      this.#start(job);
    }
    this.#changed();
  }

  #start(job: Job): void {
    job.state = "going";
    job.tus ??= this.#tus(job);
    const tus = job.tus;
    // The same file, broken off earlier in this browser, goes on where it stopped.
    void tus.findPreviousUploads().then((earlier) => {
      if (job.state !== "going") return;
      const last = earlier.at(-1);
      if (last && tus.url === null) tus.resumeFromPreviousUpload(last);
      tus.start();
    });
  }

  #tus(job: Job): Tus {
    return new Tus(job.file, {
      endpoint: "/v1/files-uploads",
      metadata: { path: job.path },
      chunkSize: PIECE,
      retryDelays: RETRIES_MS,
      removeFingerprintOnSuccess: true,
      fingerprint: (file) => {
        const { name, size, lastModified } = file as File;
        return Promise.resolve(["downstage", job.path, name, size, lastModified].join("|"));
      },
      // Asked anew for each request: a long upload outlives a token.
      onBeforeRequest: (request) => {
        for (const [name, value] of Object.entries(this.#api.headers())) request.setHeader(name, value);
      },
      onProgress: (sent) => {
        job.sent = sent;
        this.#changed();
      },
      onSuccess: () => {
        job.state = "done";
        job.sent = job.size;
        this.#arrived(job.path);
        this.#next();
      },
      onError: (error) => {
        job.state = "failed";
        job.error = reasonOf(error);
        this.#next();
      },
    });
  }
}

/** The server's own words, where the answer held any. */
function reasonOf(error: Error): string {
  const answer = (error as { originalResponse?: { getBody(): string } | null }).originalResponse;
  try {
    const body = JSON.parse(answer?.getBody() ?? "") as { detail?: unknown };
    if (typeof body.detail === "string") return body.detail;
  } catch {
    // No problem object: the network, or a proxy.
  }
  return answer ? "The server refused it." : "The connection broke. Resume when it is back.";
}

/** Every file of a drop, with its path below the folder that it was dropped in. */
export async function filesOf(transfer: DataTransfer): Promise<{ file: File; relative: string }[]> {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (roots.length === 0) return [...transfer.files].map((file) => ({ file, relative: file.name }));
  const found: { file: File; relative: string }[] = [];
  const open: FileSystemEntry[] = [...roots];
  for (let entry = open.shift(); entry; entry = open.shift()) {
    const relative = entry.fullPath.replace(/^\//, "");
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => {
        (entry as FileSystemFileEntry).file(resolve, reject);
      });
      found.push({ file, relative });
    } else {
      open.push(...await childrenOf(entry as FileSystemDirectoryEntry));
    }
  }
  return found;
}

async function childrenOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    // A browser gives a hundred at a time, and an empty list at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (some.length === 0) return found;
    found.push(...some);
  }
}
