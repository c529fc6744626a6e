// Doorward's script for single-page apps: where the gate answers a fetch with 401, it takes the page through sign-in
// and back, and never in a loop. See docs/single-page-apps.md.
(() => {
  'use strict';

  // Two trips in a minute that did not help: a third would not either.
  const MOST_TRIPS = 2;
  const WINDOW = 60_000;
  const TRIPS = 'doorward.trips';
  // How long a request waits for the page to be gone before it learns of its 401 after all.
  const GONE_WITHIN = 10_000;
  // What the gate says for a session that is not there. Any other 401 is the app's own business.
  const REASONS = ['no_session', 'session_ended'];

  const script = document.currentScript;
  let base = new URL('.', script?.src || new URL('/_doorward/', location));
  let installed = false;
  let leaving = null;

  // Where the gate said that sign-in begins, if that is here; else where it always does.
  const start = (loginUrl) => {
    const fallback = new URL('start', base);
    try {
      const url = new URL(loginUrl ?? fallback, location);
      return url.origin === location.origin ? url : fallback;
    } catch {
      return fallback;
    }
  };

  // Notes another trip if there may be one. A browser that remembers nothing could not be kept from going round.
  const mayTravel = () => {
    try {
      const now = Date.now();
      const trips = JSON.parse(sessionStorage.getItem(TRIPS) ?? '[]').filter((trip) => now - trip < WINDOW);
      if (trips.length >= MOST_TRIPS) return false;
      sessionStorage.setItem(TRIPS, JSON.stringify([...trips, now]));
      return true;
    } catch {
      return false;
    }
  };

  const tell = (type, detail) => dispatchEvent(new CustomEvent(type, { cancelable: true, detail }));

  // Goes to sign in and comes back to this address; resolves if the page is still here after a while.
  const travel = (loginUrl) => {
    leaving ??= new Promise((resolve) => {
      const url = start(loginUrl);
      url.search = '?rd=' + encodeURIComponent(location.href);
      location.assign(url);
      setTimeout(() => {
        leaving = null;
        resolve();
      }, GONE_WITHIN);
    });
    return leaving;
  };

  // The session is over. The app hears of it first and may take matters into its own hands.
  const sessionLost = (reason, loginUrl) => {
    if (leaving) return leaving;
    const detail = { reason, signIn: () => travel(loginUrl) };
    // A provider does not show itself in a frame.
    if (window.top !== window.self) return void tell('doorward:signed-out', detail);
    if (!tell('doorward:session-lost', detail)) return undefined;
    if (!mayTravel()) return void tell('doorward:signed-out', detail);
    return travel(loginUrl);
  };

  const isHere = (url) => {
    try {
      return new URL(url, location).origin === location.origin;
    } catch {
      return false;
    }
  };

  const lost = (status, url, header) => {
    const reason = status === 401 && isHere(url) ? header('Doorward-Reason') : null;
    return REASONS.includes(reason) ? reason : null;
  };

  const inspect = async (response) => {
    const reason = lost(response.status, response.url, (name) => response.headers.get(name));
    if (!reason) return response;
    const said = await response.clone().json().catch(() => ({}));
    await sessionLost(reason, said?.login_url);
    return response;
  };

  const wrapFetch = () => {
    const original = window.fetch;
    window.fetch = async function fetch(...request) {
      return inspect(await original.apply(this, request));
    };
  };

  const wrapXhr = () => {
    const original = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function send(...body) {
      this.addEventListener('load', () => {
        const reason = lost(this.status, this.responseURL, (name) => this.getResponseHeader(name));
        if (reason) sessionLost(reason);
      }, { once: true });
      return original.apply(this, body);
    };
  };

  const native = window.fetch.bind(window);

  window.doorward = Object.freeze({
    // Wraps fetch and XMLHttpRequest, once. `prefix`: where the gate's pages are, for a copy that is served elsewhere.
    install({ prefix } = {}) {
      if (prefix) base = new URL(prefix.replace(/\/*$/, '/'), location);
      if (installed) return;
      installed = true;
      wrapFetch();
      wrapXhr();
    },
    // Whether there is a session: for what cannot tell a refusal from a failure, such as EventSource and WebSocket. Where
    // there is none, goes on as for a 401; where nobody can tell, throws.
    async check() {
      const response = await native(new URL('session', base), { cache: 'no-store' });
      if (!response.ok && response.status !== 401) throw new Error(`the gate answers ${response.status}`);
      await inspect(response);
      return response.ok;
    },
    // Goes to sign in and comes back, because a person asked for it.
    signIn: () => travel(),
  });

  if (script && 'wrap' in script.dataset) window.doorward.install();
})();
