// Tells a story with the installed PostHog client for Node, and prints as JSON how that went.
// Arguments: `gzip` or `plain`, URL and KEY.
// CLOCK_AHEAD_MS: by how much the clock of this machine (see wrong_clock.js) is ahead, and with it what it tells.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { PostHog } = require("posthog-node");

const story = JSON.parse(readFileSync(join(__dirname, "posthog_story.json"), "utf8"));
const clockAheadMs = Number(process.env.CLOCK_AHEAD_MS ?? 0);
const giveUpMs = 60_000;

async function main(encoding, url, key) {
  const errors = [];
  // Three seconds between tries otherwise.
  const client = new PostHog(key, { host: url, disableCompression: encoding !== "gzip", fetchRetryDelay: 300 });
  client.on("error", (error) => errors.push(String(error)));
  for (const { timestamp, ...part } of story.map((each) => each.with)) {
    client.capture({ ...part, timestamp: new Date(Date.parse(timestamp) + clockAheadMs) });
  }
  client.groupIdentify({ groupType: "company", groupKey: "acme", properties: { employees: 11 }, distinctId: "user-1" });
  client.alias({ distinctId: "user-1", alias: "user-0" });
  await client.shutdown(giveUpMs);
  console.log(JSON.stringify({ version: client.getLibraryVersion(), errors }));
}

main(...process.argv.slice(2));
