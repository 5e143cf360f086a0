/**
 * A small imitation of the gateway for work on the page alone: REST and signalling, no picture.
 * `node server.mjs [port]`, then open the printed address. Never shipped.
 *
 * Sessions: `waiting` stays in its third stage, `queued` waits, `failed` and `stopped` have ended,
 * `flip` ends as failed after three seconds, `locked` refuses.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const STATIC = fileURLToPath(new URL("../../../src/downstage/gateway/static", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml" };
const POLICY =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; " +
  "media-src 'self' blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:";
const began = Date.now();

const base = (id, more) => ({
  id, tenant: "main", owner: "ada", application: "usd-viewer", stage: null, region: "here",
  state: "active", outcome: null, reason: null, detail: null, progress: null, width: 1280,
  height: 720, fps: 60, encoder: "x264", warnings: [], revision: 1,
  created_at: new Date(began - 240_000).toISOString(), updated_at: new Date().toISOString(),
  lease_ends_at: null, ...more,
});
const sessions = {
  waiting: base("waiting", { state: "starting", progress: "audio",
    stage: "/Projects/harbour/harbour.usda" }),
  queued: base("queued", { state: "queued" }),
  active: base("active", { stage: "/Projects/harbour/harbour.usda" }),
  failed: base("failed", { state: "ended", outcome: "failed", reason: "application-exited",
    detail: "usd-viewer ended with status 1: cannot open /Projects/harbour.usda" }),
  stopped: base("stopped", { state: "ended", outcome: "stopped", reason: "stopped",
    application: "test-card" }),
  flip: base("flip", { state: "starting", progress: "display" }),
};
const applications = [
  { name: "usd-viewer", title: "USD viewer", opens_stage: true,
    description: "Opens a USD stage: orbit, pan, zoom, select, play its time samples." },
  { name: "test-card", title: "Test card", opens_stage: false,
    description: "A moving picture with a clock, to measure latency and frame rate." },
];

const problem = (status, detail) => [status, { type: "about:blank", status, detail }];

function answer(method, path, body, token) {
  if (path === "/v1/auth/login" || path === "/v1/auth/setup") {
    if (body.password === "wrong") return problem(401, "");
    return [200, { token: "dev", expires_at: new Date(Date.now() + 3.6e6).toISOString() }];
  }
  if (path === "/v1/applications" || path === "/v1/sessions") {
    if (!token) return problem(401, "Sign in first.");
    if (path === "/v1/applications") return [200, { items: applications }];
    if (method === "POST") {
      return [201, { ...sessions.waiting, join_url: "/?sessionid=waiting#join=dev" }];
    }
    const list = ["active", "waiting", "failed", "stopped"].map((id) => sessions[id]);
    return [200, { items: list, next: null }];
  }
  const [, id, rest] = /^\/v1\/sessions\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
  const session = sessions[id];
  if (id === "locked") return problem(401, "");
  if (!session) return problem(404, "No session of this id is yours.");
  if (rest === "seat") {
    return [200, { session, seat: "s", role: "controller", signalling_ticket: "a",
      media_ticket: "b" }];
  }
  if (rest === "tickets") return [200, { ticket: "c" }];
  return [200, session];
}

async function serve(request, response) {
  const url = new URL(request.url, "http://x");
  if (url.pathname.startsWith("/v1/")) {
    let text = "";
    for await (const piece of request) text += piece;
    const token = request.headers.authorization;
    const [status, body] = answer(request.method, url.pathname, JSON.parse(text || "{}"), token);
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
    return;
  }
  const isPage = url.pathname === "/" || url.pathname === "/webclient/index.html";
  const file = normalize(join(STATIC, isPage ? "index.html" : url.pathname));
  if (!file.startsWith(STATIC) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
    "Content-Security-Policy": POLICY,
  });
  createReadStream(file).pipe(response);
}

/** One unmasked text frame; what a browser sends is not read. */
function frame(message) {
  const body = Buffer.from(JSON.stringify(message));
  const head = body.length < 126 ? [0x81, body.length]
    : [0x81, 126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), body]);
}

function upgrade(request, socket) {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = createHash("sha1").update(key).digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: downstage.v1\r\n\r\n`);
  socket.on("error", () => undefined);
  const id = request.url.split("/")[3];
  const session = sessions[id];
  if (!session || !request.url.endsWith("signalling")) return;
  socket.write(frame({ type: "welcome", session, seat: "s", ice_servers: [] }));
  if (id !== "flip") return;
  setTimeout(() => {
    socket.write(frame({ type: "session", session: { ...session, revision: 2, state: "ended",
      outcome: "failed", reason: "streamer-died" } }));
  }, 3000).unref();
}

const server = createServer((request, response) => void serve(request, response));
server.on("upgrade", upgrade);
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
