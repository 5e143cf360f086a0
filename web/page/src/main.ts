/** The page: reads its URL, then shows a session, or the way to one. */

import { api, parameters, seat, url } from "./early";
import { foreignHosts, withoutSecrets } from "@downstage/viewer/core";
import { html, nothing, render, type TemplateResult } from "lit";
import { DownstageViewer, type Parameters, type ViewerState } from "@downstage/viewer";
import { showSetup, showSignIn, signInForm } from "./forms";
import { Home } from "./home";
import { readToken } from "./token";

if (url.hash || url.href.toLowerCase().includes("accesstoken=")) {
  history.replaceState(history.state, "", withoutSecrets(url));
}
for (const note of parameters.notes) console.info(`downstage: ${note}`);
for (const host of foreignHosts(parameters, url)) {
  console.info(`downstage: the URL names ${host}; this page talks only to ${location.host}`);
}
if (parameters.mic) console.info("downstage: no microphone is sent yet; “mic” is ignored");

function showHome(): void {
  const root = document.body;
  if (parameters.setup) {
    showSetup(root, api, parameters.setup, () => {
      startHome();
    });
  } else if (readToken() === null) {
    showSignIn(root, api, startHome);
  } else {
    startHome();
  }
}

function startHome(): void {
  const home = new Home(document.body, api, parameters.fps, () => {
    showSignIn(document.body, api, startHome);
  });
  home.start();
}

/** Files, or the way to sign in first; its code is loaded only here. */
function showFiles(): void {
  const start = async (): Promise<void> => {
    const [{ FilesApi }, { FilesPage }] = await Promise.all(
      [import("./files/api"), import("./files/page")],
    );
    new FilesPage(document.body, new FilesApi(readToken), api, parameters.fps, () => {
      showSignIn(document.body, api, () => {
        location.reload();
      });
    }).start();
  };
  const begin = (): void => void start();
  if (readToken() === null) showSignIn(document.body, api, begin);
  else begin();
}

/** Streams and recordings; their code is loaded only here. */
function showData(): void {
  const start = async (): Promise<void> => {
    const [{ DataApi }, { DataPage }] = await Promise.all([import("./data/api"), import("./data/page")]);
    new DataPage(document.body, new DataApi(readToken), readToken, () => {
      showSignIn(document.body, api, () => {
        location.reload();
      });
    }).start();
  };
  const begin = (): void => void start();
  if (readToken() === null) showSignIn(document.body, api, begin);
  else begin();
}

/** The data server's documents, for administrators; its code is loaded only here. */
function showAdmin(): void {
  const start = async (): Promise<void> => {
    const [{ AdminApi }, { AdminPage }] = await Promise.all([import("./admin/api"), import("./admin/page")]);
    new AdminPage(document.body, new AdminApi(readToken), () => {
      showSignIn(document.body, api, () => {
        location.reload();
      });
    }).start();
  };
  const begin = (): void => void start();
  if (readToken() === null) showSignIn(document.body, api, begin);
  else begin();
}

function showSession(session: string, from: Parameters): void {
  const viewer = new DownstageViewer();
  viewer.session = session;
  viewer.code = from.code;
  viewer.seat = seat;
  viewer.token = readToken;
  viewer.transport = from.transport;
  viewer.resolution = from.resolution;
  viewer.scale = from.scale;
  viewer.freeCursor = from.freeCursor;
  viewer.pin = from.media;
  viewer.controls = true;
  viewer.showStats = from.stats;
  viewer.endSession = () => endSession(session, from);
  if (from.autolaunch) viewer.connect();
  viewer.addEventListener("downstage-state", (event) => {
    onState(viewer, event.detail);
  });
  document.body.append(viewer);
  onState(viewer, viewer.state);
}

let shown = "";

/** Fill the viewer's places for buttons and forms, once for each thing it shows. */
function onState(viewer: DownstageViewer, state: ViewerState): void {
  document.title = `${state.session?.application ?? "Session"} · Downstage`;
  const now = `${state.phase} ${String(state.problem?.status)}`;
  if (now === shown) return;
  shown = now;
  const slot = document.createElement("div");
  slot.slot = state.phase;
  slot.style.display = "contents";
  viewer.replaceChildren(slot);
  render(contentFor(state, () => {
    viewer.connect();
  }), slot);
}

function contentFor(state: ViewerState, again: () => void): TemplateResult | typeof nothing {
  const home = html`<a class="button" href="/">Go to the start page</a>`;
  if (state.phase === "idle") {
    return html`<button class="button first" @click=${again}>Play</button>`;
  }
  if (state.phase === "ended") return home;
  if (state.phase !== "refused") return nothing;
  return maySignIn(state.problem?.status ?? 0)
    ? signInForm(api, again, true)
    : html`<button class="button first" @click=${again}>Try again</button>${home}`;
}

/** Signing in, as somebody or as somebody else, could help. */
function maySignIn(status: number): boolean {
  return status === 401 || status === 403 || (status === 404 && readToken() === null);
}

/** At the address that the URL names, when it names one; else, or if that fails, our own way. */
async function endSession(session: string, from: Parameters): Promise<void> {
  if (from.backend !== null) {
    try {
      await api.endAt(from.backend, from.terminateVerb, session);
      return;
    } catch (error) {
      console.info("downstage: backendurl did not end the session:", String(error));
    }
  }
  await api.end(session);
}

if (/^\/files(\/|$)/.test(location.pathname)) showFiles();
else if (/^\/watch(\/|$)/.test(location.pathname)) showData();
else if (/^\/admin(\/|$)/.test(location.pathname)) showAdmin();
else if (parameters.session !== null) showSession(parameters.session, parameters);
else showHome();
