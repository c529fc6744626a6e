// A certified OpenID provider for the tests: in memory, on loopback, without a person.
//
//   node provider.mjs '{"port": 20001, "redirect_uris": […], "post_logout_redirect_uris": […]}'
//
// alice (admins, staff) and bob (staff) sign in without a password: by the cookie `user`, else on a page with a button
// for each. With `tls` (files `cert` and `key`) it speaks https. With `resources` clients may register themselves, and an access
// token for a `resource` (RFC 8707) is a JWT for that audience, with the person's groups. Beside the provider's own paths there are
//   GET  /test/grants              counters: redemptions by kind of grant, times of requests for tokens and keys (`asked`,
//                                  `keys`: milliseconds), refusals (`refused`), logout tokens sent (`notices`),
//                                  revocation requests (`revocations`), valid refresh tokens by person (`redeemable`)
//   POST /test/groups?user=&groups=   sets the groups of a person
//   POST /test/sign-in-as?user=    sets the cookie `user`
//   POST /test/slow?seconds=&at=   delays the responses of a path such as /token; its work is done at once
//   POST /test/broken?status=&at=  makes a path respond with this status and do nothing; 0 ends that
//   POST /test/away?is=            `yes`: closes every connection without a response; keeps its state
//   POST /test/revoke?user=        ends a person's grants and invalidates their refresh tokens
//   POST /test/rotate              signs with a new key and publishes only that
//   POST /test/clock?seconds=      sets its clock ahead
//   POST /test/says?error=         redirects sign-ins with this error; empty: ends that
//   POST /test/sid?is=             `dropped`: leaves `sid` out of ID tokens
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import dns from 'node:dns';
import Provider from 'oidc-provider';
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js';

const settings = JSON.parse(process.argv[2]);
const issuer = `${settings.tls ? 'https' : 'http'}://127.0.0.1:${settings.port}`;
const people = {
  alice: { name: 'Alice Ångström', email: 'alice@example.test', groups: ['admins', 'staff'] },
  bob: { name: 'Bob', email: 'bob@example.test', groups: ['staff'] },
};
for (const [id, more] of Object.entries(settings.people ?? {})) Object.assign(people[id], more);
const grants = {};
const told = { asked: [], keys: [], refused: 0, notices: [], revocations: 0 };
const mood = { isAway: false, slow: {}, broken: {}, clock: 0, says: '', dropsSid: false };
const granted = {};
const issued = {};

// All hosts of the tests are on this machine.
const lookup = dns.lookup;
dns.lookup = (host, ...more) => lookup(host.endsWith('.example.test') ? '127.0.0.1' : host, ...more);

const now = Date.now;
Date.now = () => now() + mood.clock * 1000;

function signingKey() {
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  return { ...key, kid: randomUUID(), alg: 'RS256', use: 'sig' };
}

// A provider keeps its first key, so a new one is created on rotation, with the state of the old one.
const adapter = createMemoryAdapter();

function providerWith(key) {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'doorward',
      client_secret: settings.client_secret,
      redirect_uris: settings.redirect_uris,
      post_logout_redirect_uris: settings.post_logout_redirect_uris,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      ...(settings.backchannel_logout && {
        backchannel_logout_uri: settings.backchannel_logout_uri,
        backchannel_logout_session_required: true,
      }),
    }],
    adapter,
    jwks: { keys: [key] },
    cookies: { keys: ['neighbour'] },
    // All claims are in the ID token too, as with most providers.
    claims: { profile: ['name', 'preferred_username', 'groups', ...(settings.more_claims ?? [])], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => people[id] && {
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, email_verified: true, ...people[id] }),
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          ctx.body = `<!doctype html><title>Signing out</title>${form}
            <button id="yes" type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>`;
        },
        postLogoutSuccessSource(ctx) { ctx.body = '<!doctype html><title>Signed out at the provider</title>'; },
      },
      ...(settings.resources && {
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          useGrantedResource: () => true,
          getResourceServerInfo: (_, audience) => ({
            scope: '',
            audience,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      }),
    },
    ...(settings.resources && {
      extraTokenClaims: (_, { accountId }) => people[accountId] && {
        preferred_username: accountId,
        groups: people[accountId].groups,
      },
    }),
    // Without the library's guard against private addresses, where the gate is.
    fetch(url, { dispatcher, ...options }) {
      told.notices.push(options.body.get('logout_token'));
      return fetch(url, options);
    },
    pkce: { required: () => true },
    issueRefreshToken: (_, client) => settings.refresh_tokens !== false && client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: settings.access_token_ttl ?? 3600,
      AuthorizationCode: settings.code_ttl ?? 60,
      IdToken: 3600,
      Session: 86400,
      Grant: 86400,
      Interaction: 86400,
      RefreshToken: 86400,
    },
    // A first-party client: no consent. One grant for each browser, for all apps.
    async loadExistingGrant(ctx) {
      const known = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
      const existing = known && await ctx.oidc.provider.Grant.find(known);
      if (existing) return existing;
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid profile email offline_access');
      await grant.save();
      return grant;
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  });
  const { prototype } = provider.IdToken;
  const { set } = prototype;
  prototype.set = function setUnlessDropped(name, value) {
    if (name !== 'sid' || !mood.dropsSid) set.call(this, name, value);
  };
  provider.on('grant.success', (ctx) => {
    const kind = ctx.oidc.params.grant_type;
    grants[kind] = (grants[kind] ?? 0) + 1;
    const { accountId, grantId } = ctx.oidc.entities.AccessToken;
    (granted[accountId] ??= new Set()).add(grantId);
  });
  provider.on('refresh_token.saved', ({ accountId, jti }) => (issued[accountId] ??= new Set()).add(jti));
  provider.on('server_error', (_, error) => console.error(error));
  provider.on('authorization.error', (_, error) => console.error(error.message, error.error_description));
  provider.on('grant.error', (_, error) => {
    told.refused += 1;
    console.error(error.message, error.error_description);
  });
  provider.on('backchannel.error', (_, error) => console.error(error));
  return provider;
}

let provider = providerWith(signingKey());

async function redeemable() {
  const counts = {};
  for (const [person, tokens] of Object.entries(issued)) {
    const found = await Promise.all([...tokens].map((jti) => provider.RefreshToken.find(jti)));
    counts[person] = found.filter((token) => token?.isValid).length;
  }
  return counts;
}

async function interact(request, response, url) {
  if (mood.says) {
    await provider.interactionFinished(request, response, { error: mood.says, error_description: '<b>because</b>' });
    return;
  }
  const user = url.searchParams.get('user') ?? /(?:^|; )user=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  if (!people[user]) {
    const buttons = Object.keys(people).map((name) => `<button id="${name}" name="user" value="${name}">${name}</button>`);
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>Who are you?</title><form>${buttons.join('')}</form>`);
    return;
  }
  await provider.interactionFinished(request, response, { login: { accountId: user } });
}

const steering = {
  async grants() {},
  async groups(said) { people[said.user].groups = said.groups.split(',').filter(Boolean); },
  async 'sign-in-as'(said, response) { response.setHeader('set-cookie', `user=${said.user}; Path=/`); },
  async slow(said) { mood.slow[said.at ?? '/token'] = Number(said.seconds); },
  async broken(said) { mood.broken[said.at] = Number(said.status); },
  async away(said) { mood.isAway = said.is === 'yes'; },
  async rotate() { provider = providerWith(signingKey()); },
  async clock(said) { mood.clock = Number(said.seconds); },
  async says(said) { mood.says = said.error; },
  async sid(said) { mood.dropsSid = said.is === 'dropped'; },
  async revoke(said) {
    for (const grant of granted[said.user] ?? []) {
      await Promise.all([provider.RefreshToken.revokeByGrantId(grant), provider.AccessToken.revokeByGrantId(grant)]);
    }
  },
};

async function steer(response, url) {
  await steering[url.pathname.slice('/test/'.length)](Object.fromEntries(url.searchParams), response);
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...grants, ...told, redeemable: await redeemable() }));
}

async function answer(request, response) {
  const url = new URL(request.url, issuer);
  if (url.pathname.startsWith('/test/')) return steer(response, url);
  if (mood.isAway) return request.socket.destroy();
  if (url.pathname === '/token') told.asked.push(now());
  if (url.pathname === '/token/revocation') told.revocations += 1;
  if (url.pathname === '/jwks') told.keys.push(now());
  response.setHeader('date', new Date(Date.now()).toUTCString());
  if (mood.broken[url.pathname]) {
    response.statusCode = mood.broken[url.pathname];
    return response.end();
  }
  if (mood.slow[url.pathname]) {
    const end = response.end.bind(response);
    response.end = (...body) => setTimeout(end, mood.slow[url.pathname] * 1000, ...body);
  }
  if (url.pathname.startsWith('/interaction/')) return interact(request, response, url);
  return provider.callback()(request, response);
}

function listen(request, response) {
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
}

const server = settings.tls
  ? createSecureServer({ cert: readFileSync(settings.tls.cert), key: readFileSync(settings.tls.key) }, listen)
  : createServer(listen);
server.listen(settings.port, '127.0.0.1');
