import { describe, expect, it } from "vitest";
import { foreignHosts, parseParameters, withoutSecrets } from "../src/parameters";

const parse = (tail: string) => parseParameters(new URL(`https://stage.example/${tail}`));

describe("the URL of the Omniverse web client", () => {
  const all = parse(
    "webclient/index.html?server=&signalingserver=stage.example&signalingport=48322" +
      "&mediaserver=12.34.56.78&mediaport=31306&sessionid=abc&mic=0&cursor=free" +
      "&nucleus=files.example&resolution=1920x1080&fps=30&autolaunch=true" +
      "&backendurl=https://stage.example/&accessToken=t0&terminateVerb=delete",
  );

  it("is understood whole", () => {
    expect(all.notes).toEqual([]);
    expect(all).toMatchObject({
      session: "abc", code: "t0", freeCursor: true, mic: false, autolaunch: true, fps: 30,
      nucleus: "files.example", resolution: { width: 1920, height: 1080 }, server: null,
      signalling: "stage.example:48322", media: { host: "12.34.56.78", port: 31306 },
      backend: "https://stage.example", terminateVerb: "DELETE", transport: "auto",
    });
  });

  it("accepts any letter case of the names", () => {
    expect(parse("?SessionID=x&Resolution=10X20").session).toBe("x");
  });
});

describe("values that cannot be used", () => {
  it.each([
    ["?resolution=big", "resolution"],
    ["?resolution=0x5", "resolution"],
    ["?resolution=70000x5", "resolution"],
    ["?fps=0", "fps"],
    ["?fps=fast", "fps"],
    ["?transport=pigeon", "transport"],
    ["?terminateVerb=TRACE", "terminateVerb"],
    ["?backendurl=https://evil.example/", "backendurl"],
    ["?backendurl=http://[", "backendurl"],
    ["?mediaserver=h&mediaport=99999", "mediaport"],
    ["?colour=red", "colour"],
  ])("%s becomes a note and nothing else", (tail, name) => {
    const parameters = parse(tail);
    expect(parameters.notes).toHaveLength(1);
    expect(parameters.notes[0]).toContain(name);
    expect(parameters).toMatchObject({
      resolution: null, fps: null, transport: "auto", terminateVerb: "DELETE", backend: null,
      media: null,
    });
  });
});

describe("secrets", () => {
  it("come from the fragment before the query", () => {
    expect(parse("?sessionid=a&accessToken=q#join=f").code).toBe("f");
    expect(parse("#setup=s").setup).toBe("s");
  });

  it("do not stay in the address bar", () => {
    const url = new URL("https://x/webclient/index.html?sessionid=a&ACCESSTOKEN=q&fps=3#join=f");
    expect(withoutSecrets(url)).toBe("/webclient/index.html?sessionid=a&fps=3");
  });
});

it("names hosts that are not the page's own", () => {
  const url = new URL("https://stage.example:8600/?server=other.example&signalingserver=stage.example");
  expect(foreignHosts(parseParameters(url), url)).toEqual(["other.example"]);
});

it("asks for fewer pixels at a lower quality", () => {
  expect(parse("?quality=low").scale).toBe(0.5);
  expect(parse("").scale).toBe(1);
});
