// Tells a story with the installed Umami client for Node, and prints as JSON how that went. Arguments: URL and KEY.
"use strict";

const { Umami } = require("@umami/node");

const page = {
  hostname: "shop.example", language: "en-US", screen: "1920x1080", title: "Prices",
  referrer: "https://www.google.com/",
  url: "/pricing?utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale&gclid=g-1",
};

async function main(url, key) {
  const client = new Umami({ websiteId: key, hostUrl: url, userAgent: process.env.USER_AGENT });
  const calls = [
    () => client.track(page),
    () => client.track({ ...page, url: "/thanks", name: "Order Completed", data: { revenue: 99.99, currency: "EUR" } }),
    () => client.track("Newsletter", { plan: "pro" }),
    () => client.identify({ plan: "pro" }),
  ];
  const answers = [];
  for (const call of calls) {
    answers.push(await call().then((answer) => answer.status, (error) => error.cause?.code ?? String(error)));
  }
  console.log(JSON.stringify({ version: require("@umami/node/package.json").version, answers }));
}

main(...process.argv.slice(2));
