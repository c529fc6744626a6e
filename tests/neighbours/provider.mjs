// A certified OpenID provider for the tests: everything in memory, on loopback, without a person.
//
//   node provider.mjs '{"port": 20001, "redirect_uris": […], "post_logout_redirect_uris": […]}'
//
// alice (admins, staff) and bob (staff) sign in without a password: by the cookie `user`, else on a page with a button
// for each. Beside the provider's own paths there are
//   GET  /test/grants              how often each kind of grant was redeemed, when the token endpoint was asked
//                                  (`asked`, milliseconds), how often it refused (`refused`), which logout tokens were
//                                  sent (`notices`)
//   POST /test/groups?user=&groups=   gives a person other groups
//   POST /test/sign-in-as?user=    sets the cookie `user`
//   POST /test/slow?seconds=       lets the token endpoint do its work at once and keep its answers so long
//   POST /test/away?is=            `yes`: ends every connection without an answer, and forgets nothing
//   POST /test/revoke?user=        ends a person's grants: their refresh tokens are worth nothing any more
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import dns from 'node:dns';
import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${settings.port}`;
const people = {
  alice: { name: 'Alice Ångström', email: 'alice@example.test', groups: ['admins', 'staff'] },
  bob: { name: 'Bob', email: 'bob@example.test', groups: ['staff'] },
};
const grants = {};
const told = { asked: [], refused: 0, notices: [] };
const mood = { seconds: 0, isAway: false };
const granted = {};

// Every host of the tests is on this machine.
const lookup = dns.lookup;
dns.lookup = (host, ...more) => lookup(host.endsWith('.example.test') ? '127.0.0.1' : host, ...more);

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

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
  jwks: { keys: [{ ...key, kid: randomUUID(), alg: 'RS256', use: 'sig' }] },
  cookies: { keys: ['neighbour'] },
  // Everything that an access token could be asked for stands in the ID token too, as most providers have it.
  claims: { profile: ['name', 'preferred_username', 'groups'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => people[id] && {
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, email_verified: true, ...people[id] }),
  },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource(ctx, form) {
        ctx.body = `<!doctype html><title>Signing out</title>${form}
          <button id="yes" type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>`;
      },
      postLogoutSuccessSource(ctx) { ctx.body = '<!doctype html><title>Signed out at the provider</title>'; },
    },
  },
  // Without the library's guard against addresses of the house, where the gate is.
  fetch(url, { dispatcher, ...options }) {
    told.notices.push(options.body.get('logout_token'));
    return fetch(url, options);
  },
  pkce: { required: () => true },
  issueRefreshToken: (_, client) => settings.refresh_tokens !== false && client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  ttl: { AccessToken: settings.access_token_ttl ?? 3600, IdToken: 3600, Session: 86400, Grant: 86400, Interaction: 600, RefreshToken: 86400 },
  // The client belongs to the house: nobody is asked what it may know. One grant for each browser, whatever the apps.
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

provider.on('grant.success', (ctx) => {
  const kind = ctx.oidc.params.grant_type;
  grants[kind] = (grants[kind] ?? 0) + 1;
  const { accountId, grantId } = ctx.oidc.entities.AccessToken;
  (granted[accountId] ??= new Set()).add(grantId);
});
provider.on('server_error', (_, error) => console.error(error));
provider.on('authorization.error', (_, error) => console.error(error.message, error.error_description));
provider.on('grant.error', (_, error) => {
  told.refused += 1;
  console.error(error.message, error.error_description);
});
provider.on('backchannel.error', (_, error) => console.error(error));

async function interact(request, response, url) {
  const user = url.searchParams.get('user') ?? /(?:^|; )user=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  if (!people[user]) {
    const buttons = Object.keys(people).map((name) => `<button id="${name}" name="user" value="${name}">${name}</button>`);
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>Who are you?</title><form>${buttons.join('')}</form>`);
    return;
  }
  await provider.interactionFinished(request, response, { login: { accountId: user } });
}

async function steer(request, response, url) {
  if (url.pathname === '/test/groups') {
    people[url.searchParams.get('user')].groups = url.searchParams.get('groups').split(',').filter(Boolean);
  } else if (url.pathname === '/test/sign-in-as') {
    response.setHeader('set-cookie', `user=${url.searchParams.get('user')}; Path=/`);
  } else if (url.pathname === '/test/slow') {
    mood.seconds = Number(url.searchParams.get('seconds'));
  } else if (url.pathname === '/test/away') {
    mood.isAway = url.searchParams.get('is') === 'yes';
  } else if (url.pathname === '/test/revoke') {
    for (const grant of granted[url.searchParams.get('user')] ?? []) {
      await Promise.all([provider.RefreshToken.revokeByGrantId(grant), provider.AccessToken.revokeByGrantId(grant)]);
    }
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...grants, ...told }));
}

createServer((request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname.startsWith('/test/')) {
    steer(request, response, url);
  } else if (mood.isAway) {
    request.socket.destroy();
  } else if (url.pathname === '/token') {
    told.asked.push(Date.now());
    const end = response.end.bind(response);
    response.end = (...body) => setTimeout(end, mood.seconds * 1000, ...body);
    provider.callback()(request, response);
  } else if (url.pathname.startsWith('/interaction/')) {
    interact(request, response, url).catch((error) => {
      console.error(error);
      response.statusCode = 500;
      response.end();
    });
  } else {
    provider.callback()(request, response);
  }
}).listen(settings.port, '127.0.0.1');
