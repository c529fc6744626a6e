// Doorward's script for single-page apps: where the gate answers a fetch with 401, it redirects the page to sign-in and
// back, and never in a loop. See docs/single-page-apps.md.
(() => {
  'use strict';

  // Two redirects in a minute that did not help: a third would not either.
  const MAX_REDIRECTS = 2;
  const WINDOW_MS = 60_000;
  const STORAGE_KEY = 'doorward.trips';
  // A request gets its 401 after all where the page is still here by then.
  const NAVIGATION_TIMEOUT_MS = 10_000;
  // The gate's reason codes for a request without a session. Any other 401 is the app's own.
  const REASONS = ['no_session', 'session_ended', 'reauthorize', 'step_up'];

  const script = document.currentScript;
  let base = new URL('.', script?.src || new URL('/_doorward/', location));
  let installed = false;
  let leaving = null;

  // The gate's `login_url` if it is of this origin, else the default.
  const signInUrl = (loginUrl) => {
    const fallback = new URL('start', base);
    try {
      const url = new URL(loginUrl ?? fallback, location);
      return url.origin === location.origin ? url : fallback;
    } catch {
      return fallback;
    }
  };

  // Records another redirect if there may be one. Without storage there is none: nothing would end a loop.
  const recordRedirect = () => {
    try {
      const now = Date.now();
      const redirects = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? '[]').filter((time) => now - time < WINDOW_MS);
      if (redirects.length >= MAX_REDIRECTS) return false;
      sessionStorage.setItem(STORAGE_KEY, JSON.stringify([...redirects, now]));
      return true;
    } catch {
      return false;
    }
  };

  const emit = (type, detail) => dispatchEvent(new CustomEvent(type, { cancelable: true, detail }));

  // Redirects to sign-in and back to this URL; resolves if the page is still here after a while.
  const redirect = (loginUrl) => {
    leaving ??= new Promise((resolve) => {
      const url = signInUrl(loginUrl);
      url.search = '?rd=' + encodeURIComponent(location.href);
      location.assign(url);
      setTimeout(() => {
        leaving = null;
        resolve();
      }, NAVIGATION_TIMEOUT_MS);
    });
    return leaving;
  };

  // The session is over. The app gets an event first, and may prevent the redirect.
  const sessionLost = (reason, loginUrl) => {
    if (leaving) return leaving;
    const detail = { reason, signIn: () => redirect(loginUrl) };
    // Providers refuse to be framed.
    if (window.top !== window.self) return void emit('doorward:signed-out', detail);
    if (!emit('doorward:session-lost', detail)) return undefined;
    if (!recordRedirect()) return void emit('doorward:signed-out', detail);
    return redirect(loginUrl);
  };

  const isSameOrigin = (url) => {
    try {
      return new URL(url, location).origin === location.origin;
    } catch {
      return false;
    }
  };

  const lossReason = (status, url, header) => {
    const reason = status === 401 && isSameOrigin(url) ? header('Doorward-Reason') : null;
    return REASONS.includes(reason) ? reason : null;
  };

  const inspect = async (response) => {
    const reason = lossReason(response.status, response.url, (name) => response.headers.get(name));
    if (!reason) return response;
    const body = await response.clone().json().catch(() => ({}));
    await sessionLost(reason, body?.login_url);
    return response;
  };

  const wrapFetch = () => {
    const original = window.fetch;
    window.fetch = async function fetch(...request) {
      return inspect(await original.apply(this, request));
    };
  };

  const loginUrl = (xhr) => {
    try {
      return (xhr.responseType === 'json' ? xhr.response : JSON.parse(xhr.responseText)).login_url;
    } catch {
      return undefined;
    }
  };

  const wrapXhr = () => {
    const original = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function send(...body) {
      this.addEventListener('load', () => {
        const reason = lossReason(this.status, this.responseURL, (name) => this.getResponseHeader(name));
        if (reason) sessionLost(reason, loginUrl(this));
      }, { once: true });
      return original.apply(this, body);
    };
  };

  const nativeFetch = window.fetch.bind(window);

  window.doorward = Object.freeze({
    // Wraps fetch and XMLHttpRequest, once. `prefix`: path of the gate's pages, for a copy that is served elsewhere.
    install({ prefix } = {}) {
      if (prefix) base = new URL(prefix.replace(/\/*$/, '/'), location);
      if (installed) return;
      installed = true;
      wrapFetch();
      wrapXhr();
    },
    // Resolves to `true` if there is a session, for EventSource and WebSocket, which cannot tell a refusal from a failure.
    // Without a session it goes on as for a 401; where the gate cannot tell, it throws.
    async check() {
      const response = await nativeFetch(new URL('session', base), { cache: 'no-store' });
      if (!response.ok && response.status !== 401) throw new Error(`the gate answers ${response.status}`);
      await inspect(response);
      return response.ok;
    },
    // Redirects to sign-in and back, at a person's request.
    signIn: () => redirect(),
  });

  if (script && 'wrap' in script.dataset) window.doorward.install();
})();
