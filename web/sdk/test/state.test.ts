import { describe, expect, it } from "vitest";
import { Problem, networkProblem, problemOf, wordsFor } from "../src/problem";
import { STAGES, endingOf, placeInQueue, stageMarks } from "../src/reasons";
import { Backoff, mayResume } from "../src/reconnect";
import { phaseOf, type Facts, type ViewerState } from "../src/state";
import { elapsed, spoken, statsRows } from "../src/view";
import { NO_STATS } from "../src/stats";
import type { SessionState, SessionView } from "../src/wire";

const session = (state: SessionState): SessionView => ({ state }) as SessionView;
const facts = (more: Partial<Facts>): Facts => ({
  isStarted: true, problem: null, session: null, isGone: false, hasPicture: false,
  hadPicture: false, ...more,
});
const problem = problemOf(401, null);

describe("the phase", () => {
  it.each([
    [{ isStarted: false }, "idle"],
    [{}, "joining"],
    [{ problem }, "refused"],
    [{ session: session("queued") }, "waiting"],
    [{ session: session("starting") }, "waiting"],
    [{ session: session("ready") }, "connecting"],
    [{ session: session("active"), hasPicture: true, hadPicture: true }, "playing"],
    [{ session: session("active"), hadPicture: true }, "reconnecting"],
    [{ session: session("disconnected"), hadPicture: true }, "reconnecting"],
    [{ session: session("ending"), hasPicture: true }, "ended"],
    [{ session: session("ended"), problem }, "ended"],
    [{ isGone: true, hadPicture: true }, "ended"],
  ] as const)("of %j is %s", (more, phase) => {
    expect(phaseOf(facts(more))).toBe(phase);
  });
});

describe("the end", () => {
  const end = (outcome: SessionView["outcome"], reason: string | null, detail: string | null = null) =>
    endingOf({ outcome, reason, detail });

  it.each([
    "stopped", "application-exited", "streamer-died", "connect-lease", "resume-lease",
    "idle-lease", "maximum-lease", "start-deadline", "spawn-failed", "host-restarted", "never-drew", "capture-failed",
    "display-died", "display-failed", "disk-limit", "instance-lost", "abandoned", "not-placed", "start-failed",
  ])("for %s has words and a remedy of its own", (reason) => {
    const words = end("failed", reason);
    expect(words.title).not.toBe(end("failed", "never-heard-of").title);
    expect(words.text.length * words.remedy.length).toBeGreaterThan(0);
  });

  it("takes the server's own words for what happened", () => {
    expect(end("failed", "application-exited", "status 3").text).toBe("status 3");
    expect(end("failed", "application-exited", " ").text).not.toBe(" ");
  });

  it("has words for what it never heard of, by outcome", () => {
    expect(end("expired", "new-lease").title).toBe("Time is over");
    expect(end("failed", null).tone).toBe("bad");
    expect(endingOf(null).tone).toBe("calm");
  });
});

it("marks the stages of a start", () => {
  expect(stageMarks(null)).toEqual(["now", ...STAGES.slice(1).map(() => "next")]);
  expect(stageMarks("audio").slice(0, 5)).toEqual(["done", "done", "done", "now", "next"]);
  expect(stageMarks("running")).toEqual(STAGES.map(() => "done"));
});

it.each([
  [null, null, ""],
  [1, null, "You are next"],
  [4, null, "3 before you"],
  [1, 20, "You are next · less than a minute"],
  [2, 60, "1 before you · about a minute"],
  [3, 61, "2 before you · about 2 minutes"],
  [90, 7200, "89 before you · more than an hour"],
] as const)("place %s with %s s to go is “%s”", (position, eta_s, words) => {
  expect(placeInQueue({ position, eta_s })).toBe(words);
});

describe("trying again", () => {
  it("waits longer each time, up to a bound, never exactly as the others", () => {
    const calm = new Backoff({ random: () => 0 });
    expect([1, 2, 3, 4, 5, 6, 7].map(() => calm.next())).toEqual(
      [200, 400, 800, 1600, 3200, 5000, 5000]);
    calm.reset();
    expect(calm.next()).toBe(200);
    expect(new Backoff({ random: () => 1 }).next()).toBe(140);
  });

  it("stops some time after the lease", () => {
    const lease = new Date(100_000).toISOString();
    expect(mayResume(lease, 0, 114_000)).toBe(true);
    expect(mayResume(lease, 0, 116_000)).toBe(false);
    expect(mayResume(null, 0, 74_000)).toBe(true);
    expect(mayResume("nonsense", 0, 76_000)).toBe(false);
  });
});

describe("problems", () => {
  it("take the server's sentence", () => {
    expect(problemOf(422, { code: "invalid", detail: "fps is too high" })).toMatchObject(
      { code: "invalid", status: 422, detail: "fps is too high" });
    expect(problemOf(404, { message: "gone" }).detail).toBe("gone");
    expect(problemOf(503, "<html>").detail).toBe(wordsFor(503)[1]);
  });

  it("pass by themselves or not", () => {
    expect(networkProblem(new TypeError("failed")).passing).toBe(true);
    expect(problemOf(503, null).passing).toBe(true);
    expect(problemOf(404, null).passing).toBe(false);
    expect(networkProblem(problem)).toBe(problem);
    expect(new Problem({ code: "x", status: 1, title: "t", detail: "" }).message).toBe("t");
  });

  it("always have words", () => {
    for (const status of [0, 401, 418, 500, 502]) {
      expect(wordsFor(status).every((words) => words.length > 5)).toBe(true);
    }
  });
});

it("says with the picture why it comes another way", () => {
  const state = { phase: "playing", transportReason: null } as ViewerState;
  expect(spoken(state)).toBe("The picture is here");
  expect(spoken({ ...state, transportReason: "No UDP path to the machine" })).toBe(
    "The picture is here. No UDP path to the machine: the picture comes over the WebSocket");
});

it("shows time and known figures only", () => {
  expect(elapsed(0, 65_900)).toBe("1:05");
  const rows = statsRows({ ...NO_STATS, transport: "websocket", fps: 59.6, kbps: 8123 });
  expect(rows).toContainEqual(["Frames", "60 fps"]);
  expect(rows).toContainEqual(["Bit rate", "8.1 Mbit/s"]);
  expect(rows.map(([word]) => word)).not.toContain("Capture to screen");
});
