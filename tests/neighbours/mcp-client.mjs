// The official MCP client, as a program without a person: finds its authorization server by itself, registers there, signs in
// and calls a tool.
//
//   node mcp-client.mjs '{"server": "https://app.example.test:20001/mcp", "user": "alice"}'
//
// `client` is a client identifier in place of the registration. It prints one line of JSON: the requests that it made up to the
// tokens (`requests`), the authorization request (`authorization`), the claims of its access token (`token`), and what the
// tool said (`whoami`); or `error`.
import dns from 'node:dns';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const settings = JSON.parse(process.argv[2]);
const REDIRECT = 'http://127.0.0.1:9/callback';

// All hosts of the tests are on this machine.
const lookup = dns.lookup;
dns.lookup = (host, ...more) => lookup(host.endsWith('.example.test') ? '127.0.0.1' : host, ...more);

const told = { requests: [] };

async function recorded(url, options) {
  const response = await fetch(url, options);
  const { method = 'GET' } = options ?? {};
  told.requests.push({ method, url: String(url), status: response.status, challenge: response.headers.get('www-authenticate') });
  return response;
}

// What the client keeps, in memory.
const kept = {};
const authProvider = {
  redirectUrl: REDIRECT,
  clientMetadata: {
    client_name: 'neighbour',
    redirect_uris: [REDIRECT],
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    // Asked for where neither the challenge nor the metadata names scopes.
    scope: 'openid profile',
  },
  clientInformation: () => kept.client ?? (settings.client && { client_id: settings.client }),
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  redirectToAuthorization: (url) => { kept.authorization = url; },
};

// The browser of the person, who is known at the provider by a cookie: follows redirects up to the client's own address.
async function signIn(url) {
  const jar = new Map([['user', settings.user]]);
  for (let next = url, hops = 0; hops < 10; hops += 1) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(next, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${response.status} at ${next}: ${await response.text()}`);
    next = new URL(location, next);
    if (String(next).startsWith(REDIRECT)) return next.searchParams;
  }
  throw new Error('redirected ten times');
}

function transport() {
  return new StreamableHTTPClientTransport(new URL(settings.server), { authProvider, fetch: recorded });
}

function client() {
  return new Client({ name: 'neighbour', version: '1.0.0' });
}

async function run() {
  const first = transport();
  try {
    await client().connect(first);
    throw new Error('let in without a token');
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
  }
  told.authorization = Object.fromEntries(kept.authorization.searchParams);
  const answered = await signIn(kept.authorization);
  if (!answered.has('code')) throw new Error(String(answered));
  await first.finishAuth(answered.get('code'));
  const [, claims] = kept.tokens.access_token.split('.');
  told.token = claims && JSON.parse(Buffer.from(claims, 'base64url'));
  const caller = client();
  await caller.connect(transport());
  const { content } = await caller.callTool({ name: 'whoami', arguments: {} });
  told.whoami = JSON.parse(content[0].text);
  await caller.close();
}

await run().catch((error) => { told.error = String(error?.stack ?? error); });
console.log(JSON.stringify(told));
process.exit(told.error ? 1 : 0);
