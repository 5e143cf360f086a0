/** Why a session ended, in words, with what to do. */

import type { SessionView } from "./wire";

export interface Ending {
  readonly title: string;
  readonly text: string;
  readonly remedy: string;
  readonly tone: "calm" | "bad";
}

type Words = readonly [title: string, text: string, remedy: string];

const AGAIN = "Start a new session whenever you like.";

const REASONS: Readonly<Record<string, Words>> = {
  "stopped": ["Session ended", "The session was ended on purpose.", AGAIN],
  "deleted": ["Session ended", "The session was ended on purpose.", AGAIN],
  "application-exited": [
    "The application closed",
    "The application ended by itself.",
    "If you did not close it, look at its log and start it again.",
  ],
  "application-failed": [
    "The application could not start",
    "It ended before it drew a picture.",
    "Look at the application's log, correct its command or its stage, then start it again.",
  ],
  "application-silent": [
    "The application drew nothing",
    "It started but never showed a picture within its time.",
    "Check that it opens a window on the display it is given, then start it again.",
  ],
  "capture-failed": [
    "The picture was lost",
    "The display could not be captured any more.",
    "Start a new session; “downstage doctor” on the machine says what is missing.",
  ],
  "display-died": [
    "The display was lost",
    "The display that the application drew on has crashed.",
    "Start a new session. What the application had not saved is lost.",
  ],
  "disk-limit": [
    "The application left too much",
    "It wrote more into its own folder than it may.",
    "Have it keep what it computes in /tmp or among the platform's files, then start it again.",
  ],
  "instance-lost": [
    "The session was lost",
    "The machine does not know its application any more.",
    "Start a new session; if it happens again, ask the operator to read the log.",
  ],
  "abandoned": [
    "The session was lost",
    "The platform went away and did not come back in time.",
    "Start a new session when it is back.",
  ],
  "not-placed": [
    "Nothing is free right now",
    "No machine could take the session.",
    "Wait until a session ends, then start again.",
  ],
  "never-drew": [
    "The application drew nothing",
    "It started but never showed a picture within its time.",
    "Check that it opens a window on the display it is given, then start it again.",
  ],
  "start-timeout": [
    "The start took too long",
    "The session was not ready within its time.",
    "Try again; if it happens again, look at the application's log.",
  ],
  "streamer-died": [
    "The picture was lost",
    "The program that brings the picture here has crashed.",
    "Start a new session. What the application had not saved is lost.",
  ],
  "keeper-died": [
    "The session was lost",
    "The program that looks after the session has crashed.",
    "Start a new session. What the application had not saved is lost.",
  ],
  "display-failed": [
    "No display could be made",
    "The machine could not make a display for the application.",
    "Run “downstage doctor” on the machine: it says what is missing.",
  ],
  "encoder-failed": [
    "No encoder works",
    "The machine has no working video encoder.",
    "Run “downstage doctor” on the machine: it says what is missing.",
  ],
  "spawn-failed": [
    "The session could not start",
    "The machine could not start the application.",
    "Check the application's command; “downstage doctor” says what is missing.",
  ],
  "queue-hold": [
    "Your place was given up",
    "Nobody looked after the session while it waited for a free place.",
    "Start a new session and keep its page open.",
  ],
  "queue-lease": [
    "Nothing became free",
    "No place became free for this session in time.",
    "Try again later, or ask the operator for more places.",
  ],
  "connect-lease": [
    "Nobody came",
    "No viewer opened this session within its time.",
    "Start a new session and open its link soon after.",
  ],
  "resume-lease": [
    "You were away too long",
    "The connection was lost and did not come back within its time.",
    "Start a new session. If your network breaks often, ask for a longer resume time.",
  ],
  "idle-lease": [
    "Nothing was done for a long time",
    "The session ended because it saw no mouse, key or touch.",
    AGAIN,
  ],
  "maximum-lease": [
    "The longest time is over",
    "Sessions may only run for a fixed time here.",
    AGAIN,
  ],
  "host-restarted": [
    "The machine restarted",
    "The session was on a machine that went down.",
    AGAIN,
  ],
  "capacity": [
    "Nothing is free right now",
    "All places on this machine are taken.",
    "Wait until a session ends, then start again.",
  ],
};

const SAME: Readonly<Record<string, string>> = {
  "user": "stopped",
  "ended": "stopped",
  "connect": "connect-lease",
  "connect-lease-expired": "connect-lease",
  "resume": "resume-lease",
  "resume-lease-expired": "resume-lease",
  "idle": "idle-lease",
  "idle-lease-expired": "idle-lease",
  "max-lease": "maximum-lease",
  "maximum": "maximum-lease",
  "maximum-length": "maximum-lease",
  "start-deadline": "start-timeout",
  "start-lease": "start-timeout",
  "never-draws": "never-drew",
  "no-picture": "never-drew",
  "streamer-failed": "display-failed",
  "start-failed": "spawn-failed",
  "instance-ended": "instance-lost",
};

const OUTCOMES: Readonly<Record<string, Words>> = {
  stopped: REASONS["stopped"] as Words,
  expired: ["Time is over", "The session reached one of its time limits.", AGAIN],
  failed: [
    "The session failed",
    "Something went wrong on the machine.",
    "Try again; if it stays, ask the operator to read the log.",
  ],
};

/** Words for *reason*; the server's own `detail` wins over ours for what happened. */
export function endingOf(
  session: Pick<SessionView, "outcome" | "reason" | "detail"> | null,
): Ending {
  const { outcome, reason, detail } = session ?? { outcome: null, reason: null, detail: null };
  const [title, text, remedy] = wordsFor(reason ?? "", outcome ?? "stopped");
  return {
    title,
    text: detail?.trim() || text,
    remedy,
    tone: outcome === "failed" ? "bad" : "calm",
  };
}

function wordsFor(reason: string, outcome: string): Words {
  return REASONS[SAME[reason] ?? reason] ?? OUTCOMES[outcome] ?? (OUTCOMES["failed"] as Words);
}

/** The stages of a start, in order, with the words a person sees. */
export const STAGES: readonly (readonly [id: string, words: string])[] = [
  ["placed", "Place on a machine"],
  ["display", "Display"],
  ["audio", "Sound"],
  ["streamer", "Picture encoder"],
  ["application", "Application"],
  ["running", "First picture"],
];

export type StageMark = "done" | "now" | "next";

/** How a session stands in the queue, in words: its place, and how long that may take. */
export function placeInQueue(session: Pick<SessionView, "position" | "eta_s">): string {
  const { position, eta_s: eta } = session;
  if (position === null || position === undefined) return "";
  const place = position === 1 ? "You are next" : `${String(position - 1)} before you`;
  if (eta === null || eta === undefined) return place;
  if (eta < 60) return `${place} · less than a minute`;
  const minutes = Math.ceil(eta / 60);
  if (minutes === 1) return `${place} · about a minute`;
  if (minutes < 60) return `${place} · about ${String(minutes)} minutes`;
  return `${place} · more than an hour`;
}

/** How each stage stands when the server says that *progress* has been reached. */
export function stageMarks(progress: string | null): readonly StageMark[] {
  const reached = STAGES.findIndex(([id]) => id === progress);
  return STAGES.map((_, index) =>
    index <= reached ? "done" : index === reached + 1 ? "now" : "next",
  );
}
