// Tells a story with the client of the Segment family for browsers. `setup`: the server's address and key, whether the
// settings come from there, and whether events are sent in batches.
"use strict";
{
  const { url, key, fetchSettings, batching } = window.setup;
  const segment = { protocol: "http" };
  if (!fetchSettings) {
    segment.apiHost = `${new URL(url).host}/v1`;
  }
  if (batching) {
    segment.deliveryStrategy = { strategy: "batching", config: { size: 6, timeout: 1_000 } };
  }
  const settings = fetchSettings
    ? { writeKey: key, cdnURL: url }
    : { writeKey: key, cdnSettings: { integrations: { "Segment.io": { apiKey: key } } } };
  const client = AnalyticsNext.AnalyticsBrowser.load(settings, { integrations: { "Segment.io": segment } });

  const tell = async () => {
    // Not awaited: an event that must be sent again would hold up the rest.
    client.page("Docs", "Pricing");
    client.identify("user-1", { email: "jane@shop.example", plan: "pro" });
    client.track("Order Completed", { order_id: "O-1", revenue: 99.99, currency: "EUR", coupons: ["ten", "more"] });
    client.screen("Checkout");
    client.group("acme", { employees: 11 });
    client.alias("user-1", "user-0");
    const user = await client.user();
    window.told = { version: client.instance.VERSION, anonymousId: user.anonymousId(), errors: [] };
  };
  tell();
}
