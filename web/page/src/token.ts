/** The person's token, kept for this tab alone. */

const KEY = "downstage.token";

interface Kept {
  readonly token: string;
  readonly expires_at: string;
}

export function readToken(): string | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Kept | null;
    if (!kept || Date.parse(kept.expires_at) <= Date.now()) return null;
    return kept.token;
  } catch {
    return null;
  }
}

export function keepToken(answer: Kept): void {
  sessionStorage.setItem(
    KEY, JSON.stringify({ token: answer.token, expires_at: answer.expires_at }),
  );
}

export function dropToken(): void {
  sessionStorage.removeItem(KEY);
}

/** Whether the token says that it holds *scope*: for showing a link. Only the server decides. */
export function holds(scope: string): boolean {
  try {
    const claims = (readToken() ?? "").split(".")[1] ?? "";
    const said = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as { scope?: unknown };
    return typeof said.scope === "string" && said.scope.split(" ").includes(scope);
  } catch {
    return false;
  }
}
