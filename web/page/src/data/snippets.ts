/** How to push, to copy and paste: with this page's own address, and never with a token. */

import { html, type TemplateResult } from "lit";

const LANGUAGES = ["Python", "curl"] as const;
export type Language = (typeof LANGUAGES)[number];

/** Programs that push to the server at *origin*; the token stands in the environment. */
export function snippet(language: Language, origin: string): string {
  if (language === "curl") {
    return `# one JSON entry: shown as a plot
curl ${origin}/v1/streams/demo.wave/entries \\
  -H "Authorization: Bearer $DOWNSTAGE_TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{"x": 1.5}'

# one picture
curl ${origin}/v1/streams/demo.camera/entries \\
  -H "Authorization: Bearer $DOWNSTAGE_TOKEN" \\
  -H 'Content-Type: image/jpeg' \\
  --data-binary @picture.jpg`;
  }
  return `import json, math, os, time, urllib.request

address = "${origin}/v1/streams/demo.wave/entries"
headers = {
    "Authorization": "Bearer " + os.environ["DOWNSTAGE_TOKEN"],
    "Content-Type": "application/json",
}
while True:
    t = time.time()
    entry = json.dumps({"sin": math.sin(t), "cos": math.cos(t)})
    request = urllib.request.Request(address, entry.encode(), headers)
    urllib.request.urlopen(request).close()
    time.sleep(0.05)`;
}

export class Snippets {
  #language: Language = "Python";
  #copied = "";

  view(origin: string, token: () => string | null, changed: () => void): TemplateResult {
    const copy = async (what: string, text: string): Promise<void> => {
      try {
        await navigator.clipboard.writeText(text);
        this.#copied = `${what} copied.`;
      } catch {
        this.#copied = "The browser did not let it be copied: mark it and copy it by hand.";
      }
      changed();
    };
    const text = snippet(this.#language, origin);
    return html`<section class="snippets" aria-label="How to push">
      <div class="tabs">${LANGUAGES.map((language) => html`<button class="plain"
        aria-pressed=${language === this.#language} @click=${() => {
          this.#language = language;
          this.#copied = "";
          changed();
        }}>${language}</button>`)}
        <button class="button low" @click=${() => void copy("The program is", text)}>Copy</button></div>
      <pre tabindex="0"><code>${text}</code></pre>
      <p class="soft">The program takes your token from the environment variable
        <code>DOWNSTAGE_TOKEN</code>. A token of its own, for some streams alone, is made by
        <code>downstage token --stream 'demo.*:write'</code>; or take the one of this sign-in:
        <button class="button low" ?disabled=${token() === null}
          @click=${() => void copy("The line with your token is", `export DOWNSTAGE_TOKEN=${token() ?? ""}`)}>
          Copy export line with my token</button></p>
      <p class="soft" role="status">${this.#copied}</p></section>`;
  }
}
