// Preloaded into Node (`node --require`) or first in a page: a machine whose clock is ahead, by CLOCK_AHEAD_MS of the
// environment or `clockAheadMs` of the page's setup.
"use strict";
{
  const aheadMs = Number(globalThis.setup?.clockAheadMs ?? globalThis.process?.env.CLOCK_AHEAD_MS ?? 0);
  const RightDate = Date;
  globalThis.Date = class Date extends RightDate {
    constructor(...given) {
      super(...(given.length ? given : [RightDate.now() + aheadMs]));
    }

    static now() {
      return RightDate.now() + aheadMs;
    }
  };
}
