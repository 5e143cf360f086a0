/** How far the regions are: measured to what their agents announce, where there is a choice. */

import type { RegionView } from "@downstage/viewer";

const ROUNDS = 3;
const DEADLINE_MS = 3000;

/** Milliseconds of one request to *probe*; null where it does not answer. */
export type Ping = (probe: string) => Promise<number | null>;

/** Its answer is nobody's to read: only the time counts. */
async function ping(probe: string): Promise<number | null> {
  const began = performance.now();
  try {
    await fetch(probe, {
      mode: "no-cors", cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    return null;
  }
  return performance.now() - began;
}

/** Round trips by region, for those that can be measured; nothing where there is no choice. */
export async function measure(
  regions: readonly RegionView[], once: Ping = ping,
): Promise<Record<string, number>> {
  const open = regions.filter((region) => region.answering);
  if (open.length < 2) return {};
  const found = await Promise.all(open.map(async ({ name, probe }) => {
    if (probe === null || !probe.startsWith("https://")) return null;
    let best: number | null = null;
    // The first round trip opens the connection, too: the shortest is the distance.
    for (let round = 0; round < ROUNDS; round++) {
      const took = await once(probe);
      if (took === null) return null;
      best = best === null ? took : Math.min(best, took);
    }
    return best === null ? null : [name, Math.round(best * 10) / 10] as const;
  }));
  return Object.fromEntries(found.filter((entry) => entry !== null));
}
