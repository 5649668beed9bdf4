// Touchline's browser snippet: counts page views, and sends what the page tells it. docs/browser.md says how to use it.
// Nothing is compiled: the server takes out the comments and the indentation, and serves the rest as it stands here.

(() => {
  // Nothing that goes wrong here may stop the page.
  const safe = f => (...args) => { try { return f(...args); } catch (error) { console.warn('touchline:', error); } };

  const script = document.currentScript || document.querySelector('script[data-key]');
  const start = () => {
    const early = window.touchline;
    if (early && early.track) return;
    const { key, host, consent, auto } = script.dataset;
    if (!key) throw new Error('the script element has no data-key');
    const endpoint = new URL('v1/batch', host || script.src).href;

    const PREFIX = 'touchline.', CONSENT = PREFIX + 'consent', IDS = PREFIX + 'ids', QUEUE = `${PREFIX}queue.${key}.`;
    const SESSION_IDLE_MS = 1.8e6, TITLE_MS = 100, BATCH_MS = 500, TIMEOUT_MS = 3e4, MAX_BACKOFF_S = 64;
    // Requests that may outlive the page have 64 KiB between them.
    const BATCH_BYTES = 6e4, BATCH_EVENTS = 100, MAX_EVENTS = 1e3, MAX_CHARS = 1e6;
    // For so long an event is left alone that another page made, or that a beacon took: it may be on its way.
    const GRACE_MS = 1e4;

    const on = (target, type, f) => target.addEventListener(type, safe(f));
    const uuid = () => {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      bytes[6] = bytes[6] & 15 | 64;
      bytes[8] = bytes[8] & 63 | 128;
      const hex = Array.from(bytes, byte => (byte + 256).toString(16).slice(1)).join('');
      return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    };

    // The store is localStorage, or lasts as long as the page where the browser or the visitor want none. Memory takes
    // what a full store refuses.
    const memory = {};
    // Events of this page, and when a beacon took them.
    const mine = {};
    let saved, store = {};
    try { store = saved = localStorage || store; } catch {}
    const get = name => memory[name] || store[name];
    const drop = name => { for (const box of [memory, store, mine]) delete box[name]; };
    const put = (name, value) => {
      delete memory[name];
      try { store[name] = value; } catch { memory[name] = value; }
    };
    const names = prefix =>
      [...Object.keys(store), ...Object.keys(memory)].filter(name => name.startsWith(prefix)).sort();
    const forget = () => names(PREFIX).filter(name => name != CONSENT).forEach(drop);
    if (navigator.globalPrivacyControl) {
      forget();
      store = { [CONSENT]: get(CONSENT) || '' };
    }

    // Calls wait while consent is asked for. The decision is kept in any case: it has to be remembered.
    const decide = given => {
      if (!given) forget();
      put(CONSENT, given ? 'yes' : 'no');
      try { saved[CONSENT] = get(CONSENT); } catch {}
    };
    let held = [];
    const isRefused = () => get(CONSENT) == 'no';
    const isAllowed = () => (get(CONSENT) || consent != 'required' && 'yes') == 'yes';
    const run = call => {
      held.push(safe(call));
      held = isRefused() ? [] : held.slice(-MAX_EVENTS);
      if (isAllowed()) held.splice(0).forEach(call => call());
    };

    // All pages of the site share visitor, user and session.
    const identity = () => {
      let known;
      try { known = JSON.parse(get(IDS)); } catch {}
      if (!known || !known.visitor) known = { visitor: uuid() };
      const now = Date.now();
      if (!(Math.abs(now - known.seen) < SESSION_IDLE_MS)) known.session = uuid();
      known.seen = now;
      return known;
    };

    // Page and time are those of the call, also when it has to wait. Of two calls the second has the later time.
    let newest = 0;
    const add = (type, fields, at = Date.now()) => {
      const { url, referrer } = view;
      const time = newest = Math.abs(at - newest) < GRACE_MS ? Math.max(at, newest + 1) : at;
      const event = JSON.parse(JSON.stringify({
        type, ...fields, messageId: uuid(), timestamp: new Date(time),
        context: { page: { url, referrer, title: document.title }, library: { name: 't.js' } },
      }));
      run(() => {
        const known = identity(), dropped = makeRoom();
        if (type == 'identify') known.user = event.userId;
        if (dropped) known.dropped = (known.dropped || 0) + dropped;
        put(IDS, JSON.stringify(known));
        event.anonymousId = known.visitor;
        event.userId = known.user;
        event.context.sessionId = known.session;
        event.context.dropped = known.dropped;
        enqueue(QUEUE + time + '.' + event.messageId, event);
      });
    };

    // Each event is an entry of the store, so that pages do not overwrite each other's. It goes when the server has
    // answered; until then it is sent again, by whatever page there is. The server knows it by its messageId.
    const enqueue = (name, event) => {
      mine[name] = 0;
      put(name, JSON.stringify(event));
      wake(names(QUEUE).length < BATCH_EVENTS ? BATCH_MS : 0);
    };
    const makeRoom = () => {
      let chars = 0;
      const isTooMuch = (name, i) => (chars += get(name).length) > MAX_CHARS || i > MAX_EVENTS - 2;
      const oldest = names(QUEUE).reverse().filter(isTooMuch);
      oldest.forEach(drop);
      return oldest.length;
    };
    const isResting = name => {
      const since = name in mine ? mine[name] : name.slice(QUEUE.length).split('.')[0];
      return Math.abs(Date.now() - since) < GRACE_MS;
    };
    const take = mostBytes => {
      const batch = [];
      let bytes = 0;
      for (const name of names(QUEUE)) {
        const size = new Blob([get(name)]).size + 1;
        if (sending.includes(name) || isResting(name) || size > mostBytes) continue;
        bytes += size;
        if (batch.length && (bytes > BATCH_BYTES || batch.length == BATCH_EVENTS)) break;
        batch.push(name);
      }
      return batch;
    };
    // As plain text it needs no preflight.
    const body = batch => {
      const head = JSON.stringify({ writeKey: key, sentAt: new Date() }).slice(0, -1);
      return new Blob([`${head},"batch":[${batch.map(get)}]}`], { type: 'text/plain' });
    };

    // Pauses are measured by a clock that nobody sets.
    const clock = () => performance.now();
    let sending = [], failures = 0, quietUntil = 0, askedUntil = 0, wakesAt = Infinity, timer;
    const wake = delay => {
      const now = clock(), at = Math.max(now + delay, quietUntil);
      if (at >= wakesAt) return;
      clearTimeout(timer);
      wakesAt = at;
      timer = setTimeout(safe(flush), at - now);
    };
    const flush = () => {
      wakesAt = Infinity;
      if (sending.length || !isAllowed()) return;
      // Asked for quiet since the timer was set.
      if (clock() < quietUntil) return wake(0);
      sending = take(Infinity);
      if (!sending.length) {
        if (names(QUEUE).length) wake(GRACE_MS);
        return;
      }
      const text = body(sending), abort = new AbortController(), late = setTimeout(() => abort.abort(), TIMEOUT_MS);
      // What the page has put in the place of fetch may throw.
      new Promise(resolve => resolve(fetch(endpoint, {
        method: 'POST', body: text, credentials: 'omit', keepalive: text.size < 64e3, signal: abort.signal,
      }))).then(safe(answered), safe(() => failed(0))).finally(safe(() => {
        clearTimeout(late);
        sending = [];
        wake(0);
      }));
    };
    const answered = ({ status, headers }) => {
      if (/^(408|429|5..)$/.test(status)) return failed(+headers.get('Retry-After') || 0);
      failures = 0;
      sending.forEach(drop);
    };
    const failed = afterS => {
      const backoffS = Math.min(2 ** ++failures, MAX_BACKOFF_S) * (1 + Math.random()) / 2;
      askedUntil = clock() + 1e3 * Math.min(afterS, 86400);
      quietUntil = Math.max(askedUntil + 1e3 * Math.random(), clock() + 1e3 * backoffS);
    };
    const leave = () => {
      settle();
      let batch;
      while (isAllowed() && clock() >= askedUntil && (batch = take(BATCH_BYTES)).length) {
        if (!navigator.sendBeacon(endpoint, body(batch))) break;
        batch.forEach(name => { mine[name] = Date.now(); });
      }
    };

    // A page view is an address, without its fragment, that was shown. It is counted a little later, with its title.
    let view;
    const address = () => location.href.split('#')[0];
    const isShown = () => document.visibilityState == 'visible';
    const begin = (url, referrer) => {
      view = { url, referrer, at: Date.now(), isDue: auto != 'false' && isShown(), wasShown: isShown() };
      setTimeout(safe(settle), TITLE_MS);
    };
    const settle = () => {
      if (view.isDue) add('page', {}, view.at);
      view.isDue = false;
    };
    const moved = () => {
      const url = address();
      if (url == view.url) return;
      settle();
      begin(url, view.url);
    };
    begin(address(), document.referrer);
    for (const name of ['pushState', 'replaceState']) {
      const original = history[name];
      history[name] = function () {
        const result = original.apply(this, arguments);
        safe(moved)();
        return result;
      };
    }
    on(window, 'popstate', moved);
    on(window, 'pagehide', leave);
    on(window, 'pageshow', event => { if (event.persisted) begin(view.url, view.referrer); });
    on(document, 'visibilitychange', () => {
      if (!isShown()) leave();
      else if (!view.wasShown) begin(view.url, view.referrer);
    });

    const calls = {
      track: (event, properties) => { if (event) add('track', { event: String(event), properties }); },
      page: properties => add('page', { properties }),
      identify: (userId, traits) => {
        if (userId || userId === 0) add('identify', { userId: String(userId), traits });
      },
      reset: () => run(() => drop(IDS)),
      consent: given => {
        decide(given === true);
        run(() => wake(0));
      },
      push: (...queued) => queued.forEach(safe(([name, ...args]) => calls[name](...args))),
    };
    window.touchline = {};
    for (const name in calls) window.touchline[name] = safe((...args) => { settle(); calls[name](...args); });
    run(() => wake(0));
    if (Array.isArray(early)) window.touchline.push(...early);
  };
  // Nothing happens on a page that is only prepared, in case that somebody goes there.
  if (document.prerendering) document.addEventListener('prerenderingchange', safe(start));
  else safe(start)();
})();
