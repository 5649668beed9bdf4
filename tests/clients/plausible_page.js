// Tells a story with one of Plausible's clients for browsers. `setup`: the server's address, the site's domain, and
// which library. Each event waits for the one before.
"use strict";
{
  const { url, domain, library } = window.setup;
  const props = { plan: "pro" };

  const tellers = {
    "plausible-tracker": async () => {
      const { default: Plausible } = await import("/plausible-tracker/index.js");
      const client = Plausible({ domain, apiHost: url });
      const told = (tell) => new Promise((resolve) => tell({ props, callback: resolve }));
      await told((options) => client.trackPageview({}, options));
      await told((options) => client.trackEvent("Signup", options));
      await told((options) => client.trackEvent("Order Completed", options));
    },
    "@plausible-analytics/tracker": async () => {
      const { init, track } = await import("/plausible.js");
      init({ domain, endpoint: `${url}/api/event`, autoCapturePageviews: false });
      const told = (name, options) => new Promise((callback) => track(name, { props, callback, ...options }));
      const answers = [
        await told("pageview"),
        await told("Signup", { interactive: false }),
        await told("Order Completed", { revenue: { amount: 99.99, currency: "EUR" } }),
      ];
      return answers.map((answer) => answer.status ?? null);
    },
  };

  tellers[library]().then((answers) => {
    window.told = { answers };
  });
}
