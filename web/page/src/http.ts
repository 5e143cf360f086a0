/** Requests of a page: with the person's token, a deadline, and errors in words. */

import { Problem } from "@downstage/viewer";

const DEADLINE_MS = 15_000;

export interface Extra {
  /** Milliseconds for the whole answer. */
  readonly deadline?: number;
  /** Ends it, in the deadline's place. */
  readonly signal?: AbortSignal;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

export class Http {
  readonly #token: () => string | null;
  #skew = 0;

  constructor(token: () => string | null) {
    this.#token = token;
  }

  /** Headers that say who asks. */
  headers(): Record<string, string> {
    const token = this.#token();
    return token === null ? {} : { Authorization: `Bearer ${token}` };
  }

  /** Milliseconds by which the server's clock is ahead of ours; 0 where both agree about. */
  get skew(): number {
    return this.#skew;
  }

  protected async json<T>(method: string, path: string, body?: unknown, extra: Extra = {}): Promise<T> {
    return (await this.fetch(method, path, body, extra)).json() as Promise<T>;
  }

  /** One request; *body* goes as JSON, or as it is where it is a file. */
  protected async fetch(
    method: string, path: string, body?: unknown, extra: Extra = {},
  ): Promise<Response> {
    const init: RequestInit = {
      method,
      headers: { ...this.headers(), ...extra.headers },
      cache: "no-store",
      signal: extra.signal ?? AbortSignal.timeout(extra.deadline ?? DEADLINE_MS),
    };
    if (body instanceof Blob) {
      init.body = body;
    } else if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { ...init.headers, "Content-Type": "application/json" };
    }
    let answer: Response;
    try {
      answer = await fetch(path, init);
    } catch {
      throw problem(0, null);
    }
    this.#learn(answer);
    if (!answer.ok) throw problem(answer.status, await answer.json().catch(() => null));
    return answer;
  }

  #learn(answer: Response): void {
    const theirs = Date.parse(answer.headers.get("date") ?? "");
    if (Number.isNaN(theirs)) return;
    const apart = theirs + 500 - Date.now(); // the header knows whole seconds
    this.#skew = Math.abs(apart) > 2500 ? apart : 0;
  }
}

/** What went wrong, in the words of the server where it said any. */
export function problem(status: number, said: unknown): Problem {
  const body = (typeof said === "object" && said !== null ? said : {}) as Record<string, unknown>;
  const text = (key: string, instead: string): string =>
    typeof body[key] === "string" ? (body[key] as string) : instead;
  const unreachable = "The server does not answer. Check your network and try again.";
  return new Problem({
    code: text("code", status === 0 ? "unreachable" : `http-${String(status)}`),
    status,
    title: text("title", "That did not work"),
    detail: text("detail", status === 0 ? unreachable : `The server answered ${String(status)}.`),
  });
}
