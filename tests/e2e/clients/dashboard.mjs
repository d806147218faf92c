// Looks at the dashboard as a person would, by a headless browser, and says what it saw as JSON on stdout.
//
//   dashboard.mjs URL FOLDER    screenshots go to FOLDER
//
// A line on stdin ends the looking: until then numbers are waited for that move.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.BROWSER_MODULES + "/");
const load = async (name) => (await import(require.resolve(name))).default;
const chromium = await load("@sparticuz/chromium");
const puppeteer = await load("puppeteer-core");

const [url, folder] = process.argv.slice(2);
const WAIT_MS = 30_000;
const SIZES = [["wide", 1280, 900], ["narrow", 400, 860]];

const browser = await puppeteer.launch({
  args: [...chromium.args, "--force-prefers-reduced-motion"],
  executablePath: await chromium.executablePath(), headless: "shell",
});
const seen = { errors: [], pages: {} };
try {
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) seen.errors.push(message.text());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("requestfailed", (request) => {
    if (!request.url().endsWith("/events")) seen.errors.push(`${request.url()}: ${request.failure()?.errorText}`);
  });
  seen.requests = [];
  page.on("request", (request) => seen.requests.push(request.url()));
  await page.goto(url, { waitUntil: "load" });
  const text = (id) => page.$eval("#" + id, (element) => element.textContent);
  const differs = (id, from) => page.waitForFunction(
    (id, from) => document.getElementById(id).textContent !== from, { timeout: WAIT_MS }, id, from);
  await differs("total", "–");
  const first = await text("total");
  await differs("total", first);
  await page.waitForFunction(() => document.getElementById("p50").textContent !== "–", { timeout: WAIT_MS });
  // Some seconds of it, so that there is a line to see.
  for (let look = 0; look < 4; look++) await differs("uptime", await text("uptime"));
  seen.moved = [first, await text("total")];
  seen.state = await text("state");
  for (const scheme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    for (const [name, width, height] of SIZES) {
      await page.setViewport({ width, height });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      seen.pages[`${name}-${scheme}`] = { overflow };
      await page.screenshot({ path: `${folder}/dashboard-${name}-${scheme}.png`, fullPage: true });
    }
  }
  await page.setViewport({ width: 1280, height: 900 });
  const all = (await page.createCDPSession());
  const { nodes } = await all.send("Accessibility.getFullAXTree");
  const named = (role) => nodes.filter((node) => node.role?.value === role && !node.ignored)
    .map((node) => node.name?.value ?? "");
  seen.names = Object.fromEntries(["link", "region", "table", "image", "status", "main", "columnheader", "heading"].map((role) => [role, named(role)]));
  seen.unnamed = nodes.filter((node) => !node.ignored && ["link", "button", "region", "table", "image", "main"].includes(node.role?.value)
    && !node.name?.value).map((node) => node.role.value);
  seen.live = await page.$eval("#state", (element) => [element.getAttribute("role"), element.getAttribute("aria-live")]);
  // Where the keyboard goes, and whether one sees it there.
  seen.focus = [];
  for (let stop = 0; stop < 4; stop++) {
    await page.keyboard.press("Tab");
    seen.focus.push(await page.evaluate(() => {
      const at = document.activeElement;
      return [at.textContent.trim().slice(0, 40), getComputedStyle(at).outlineStyle !== "none"];
    }));
  }
  const rows = (id) => page.$$eval(`#${id} tr`, (rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText)));
  seen.upstreams = await rows("upstreams");
  seen.transports = await rows("transports");
  seen.limits = await rows("limits");
  seen.shards = await rows("shards");
  process.stdout.write(JSON.stringify(seen) + "\n");
  // The gateway goes, and the page says so.
  await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
  process.stdin.destroy();
  await page.waitForFunction(() => /does not answer/.test(document.getElementById("state").textContent), { timeout: WAIT_MS });
  process.stdout.write(JSON.stringify({ state: await text("state") }) + "\n");
} finally {
  await browser.close();
}
