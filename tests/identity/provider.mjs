// The certified provider (npm: oidc-provider) on loopback, with people whose password is
// "right". Says where it is in the first line of its output. Reads orders from its input, one
// JSON object a line, and answers each with a line:
//
//   {"rotate": "k2"}                        signs with a new key from now on
//   {"machine": {claims}}                   gives a signed token with these claims
//   {"person": "ann", "claims": {...}}      changes what it says of somebody
//
// Arguments: port (0: any), redirect URLs.
import { createServer } from 'node:http';
import { generateKeyPairSync, sign } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Installed beside the checkout, not in it.
const require = createRequire(`${process.env.AWSGATE_IDENTITY_TOOLS}/package.json`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

// Its notices go beside the answers, not among them.
console.info = console.warn = console.error;
const answer = (text) => process.stdout.write(`${text}\n`);

const [port, ...redirects] = process.argv.slice(2);
const people = {
  ann: { groups: ['admins', 'staff'], email: 'ann@example.com', email_verified: true },
  bob: { groups: ['staff'], email: 'bob@example.com', email_verified: true },
  eve: { groups: ['admins'], email: 'eve@example.com', email_verified: false },
};
const claimsOf = async (ctx, id) => ({
  accountId: id,
  claims: async () => ({ sub: id, ...people[id] }),
});
const page = (body) => `<!DOCTYPE html><title>device</title><body>${body}</body>`;

let handler;
let signer;
const server = createServer((req, res) => handler(req, res));
await new Promise((done) => server.listen(Number(port), '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

function start(kid) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  signer = { kid, privateKey };
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] },
    clients: [
      {
        client_id: 'awsgate',
        client_secret: 'canary-of-the-client',
        redirect_uris: redirects,
        grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      },
      { client_id: 'other', client_secret: 'of-another', redirect_uris: redirects },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'email', 'groups'],
    pkce: { required: () => true },
    findAccount: claimsOf,
    cookies: { keys: ['of the test'] },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form) => {
          ctx.body = page(`${form}<button form="op.deviceInputForm">Next</button>`);
        },
        userCodeConfirmSource: (ctx, form, client, info, code) => {
          ctx.body = page(`<code>${code}</code>${form}<button form="op.deviceConfirmForm">Yes</button>`);
        },
        successSource: (ctx) => {
          ctx.body = page('<h1 id="done">done</h1>');
        },
      },
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    renderError: (ctx, out, error) => {
      console.error(error);
      ctx.body = page(`<pre id="error">${out.error}: ${out.error_description}</pre>`);
    },
  });
  const serve = provider.callback();
  handler = (req, res) =>
    req.url.startsWith('/interaction/') ? interact(provider, req, res) : serve(req, res);
}

// The login form of a provider, and the consent that the test's people always give.
async function interact(provider, req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    res.setHeader('content-type', 'text/html');
    const fields = '<input name="login"><input name="password" type="password">';
    const inner = prompt.name === 'login' ? fields : '<p id="consent">allow?</p>';
    res.end(page(`<form method="post">${inner}<button id="go">Go</button>
      <button id="no" name="abort" value="1">No</button></form>`));
    return;
  }
  let body = '';
  for await (const part of req) body += part;
  const form = new URLSearchParams(body);
  let result;
  if (form.get('abort')) {
    result = { error: 'access_denied', error_description: 'the person said no' };
  } else if (prompt.name === 'login') {
    const login = form.get('login');
    if (!Object.hasOwn(people, login) || form.get('password') !== 'right') {
      res.statusCode = 403;
      res.end(page('<p id="wrong">wrong password</p>'));
      return;
    }
    result = { login: { accountId: login } };
  } else {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

function machineToken(claims) {
  const now = Math.floor(Date.now() / 1000);
  const text = [
    { alg: 'RS256', kid: signer.kid, typ: 'JWT' },
    { iss: issuer, iat: now, exp: now + 300, ...claims },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${sign('sha256', Buffer.from(text), signer.privateKey).toString('base64url')}`;
}

start('k1');
answer(issuer);
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.rotate) start(order.rotate);
  if (order.person) people[order.person] = { ...people[order.person], ...order.claims };
  answer(order.machine ? machineToken(order.machine) : 'done');
}
process.exit(0);
