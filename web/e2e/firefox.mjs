// Opens a page that shows a session in a fresh headless Firefox, over WebDriver BiDi, and prints
// one JSON line: what the viewer says of itself, and how many pictures a second it decoded.
//
//   node firefox.mjs PROGRAM URL [SECONDS]
import puppeteer from "puppeteer-core";

const [program, url, seconds = "4"] = process.argv.slice(2);
const WAIT_MS = 30_000;
const EVERY_MS = 100;
const SIZE = { width: 1280, height: 720 };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Until the page has a picture or gave up; null where neither happened in time. */
async function firstPicture(page) {
  for (const end = Date.now() + WAIT_MS; Date.now() < end; await pause(EVERY_MS)) {
    const stats = await figures(page);
    if (stats?.decodedFrames) return stats;
  }
  return null;
}

function figures(page) {
  return page.evaluate(async () => {
    const viewer = document.querySelector("downstage-viewer");
    return viewer?.stats ? { ...(await viewer.stats()), at: performance.now() } : null;
  });
}

async function watch(page) {
  const first = await firstPicture(page);
  if (!first) return { ok: false };
  await pause(2000); // a browser just started has much else to do
  const before = await figures(page);
  await pause(Number(seconds) * 1000);
  const { at, ...after } = await figures(page);
  const decoded = after.decodedFrames - before.decodedFrames;
  return { ...after, ok: true, fps: Math.round((decoded * 10_000) / (at - before.at)) / 10 };
}

async function main() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: program,
    headless: true,
    acceptInsecureCerts: true,
    defaultViewport: SIZE,
    // A pop-over of the first run or a slow disk must not cost the test its time.
    timeout: WAIT_MS,
    extraPrefsFirefox: {
      "media.autoplay.default": 0,
    },
  });
  const written = [];
  try {
    const page = await browser.newPage();
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) written.push(message.text());
    });
    page.on("pageerror", (error) => written.push(String(error)));
    await page.goto(url, { waitUntil: "domcontentloaded" });
    const seen = await watch(page);
    const state = await page.evaluate(
      () => JSON.stringify(document.querySelector("downstage-viewer")?.state ?? null),
    );
    console.log(JSON.stringify({ ...seen, state: JSON.parse(state), console: written }));
    return seen.ok;
  } finally {
    await browser.close();
  }
}

process.exitCode = (await main()) ? 0 : 1;
