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
