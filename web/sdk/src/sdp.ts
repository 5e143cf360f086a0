/** Small, pure edits of session descriptions and candidates. */

/** *answer* with `stereo=1` for Opus when *offer* sends stereo; browsers otherwise decode mono. */
export function keepStereo(offer: string, answer: string): string {
  if (!/a=fmtp:\d+ .*stereo=1/.test(offer)) return answer;
  const payload = /a=rtpmap:(\d+) opus\/48000\/2/i.exec(answer)?.[1];
  if (payload === undefined) return answer;
  const line = new RegExp(`(a=fmtp:${payload} )([^\\r\\n]*)`);
  return answer.replace(line, (whole, head: string, rest: string) =>
    /(^|;)\s*stereo=1/.test(rest) ? whole : `${head}${rest};stereo=1`,
  );
}

/** Whether *offer* continues the connection of *before*; a new DTLS identity begins another. */
export function isSameConnection(before: string | null, offer: string): boolean {
  const prints = (sdp: string): string =>
    [...new Set(sdp.match(/^a=fingerprint:.*$/gim) ?? [])].sort().join().toLowerCase();
  return before === null || prints(before) === prints(offer);
}

/** The same UDP candidate at another address: where a router forwards the media port. */
export function pinCandidate(candidate: string, host: string, port: number): string | null {
  const parts = candidate.split(" ");
  if (parts.length < 8 || parts[2]?.toLowerCase() !== "udp" || parts[7] !== "host") return null;
  parts[0] = `${parts[0] ?? "candidate:0"}9`;
  parts[4] = host;
  parts[5] = String(port);
  return parts.join(" ");
}
