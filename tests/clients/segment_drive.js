// Tells a story with an installed client of the Segment family for Node, and prints as JSON how that went.
// Arguments: `segment` or `rudder`, `gzip` or `plain`, URL and KEY.
// CLOCK_AHEAD_MS: by how much the clock of this machine (see wrong_clock.js) is ahead, and with it what it tells.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const story = JSON.parse(readFileSync(join(__dirname, "segment_story.json"), "utf8"));
const clockAheadMs = Number(process.env.CLOCK_AHEAD_MS ?? 0);
const giveUpMs = 60_000;

async function segment(key, url, tell) {
  const { Analytics } = require("@segment/analytics-node");
  const errors = [];
  const client = new Analytics({ writeKey: key, host: url, flushAt: story.length });
  client.on("error", (error) => errors.push(String(error.reason ?? error.code)));
  tell(client);
  await client.closeAndFlush({ timeout: giveUpMs });
  return { version: require("@segment/analytics-node/package.json").version, errors };
}

async function rudder(key, url, tell, gzip) {
  const Analytics = require("@rudderstack/rudder-sdk-node");
  const errors = [];
  const options = { dataPlaneUrl: url, gzip, flushAt: story.length, logLevel: "none" };
  const client = new Analytics(key, { ...options, errorHandler: (error) => errors.push(String(error)) });
  tell(client);
  await client.flush();
  return { version: require("@rudderstack/rudder-sdk-node/package.json").version, errors };
}

function tellStory(client) {
  for (const part of story) {
    const timestamp = new Date(Date.parse(part.with.timestamp) + clockAheadMs);
    client[part.call]({ ...part.with, timestamp });
  }
}

async function main(library, encoding, url, key) {
  const drive = { segment, rudder }[library];
  console.log(JSON.stringify(await drive(key, url, tellStory, encoding === "gzip")));
}

main(...process.argv.slice(2));
