// oauth4webapi, a certified OAuth client, against a running server: it checks every answer by the
// RFCs and throws at what is not right. Arguments as JSON on standard input; says what it found.
import * as oauth from "oauth4webapi";

let given = "";
for await (const chunk of process.stdin) given += chunk;
const { issuer, clientId, clientSecret, powerlessId, powerlessSecret, accessToken, refreshToken } =
  JSON.parse(given);
const plain = { [oauth.allowInsecureRequests]: true };

const server = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), { algorithm: "oauth2", ...plain }),
);

const verify = (token) =>
  oauth.validateJwtAccessToken(
    server,
    new Request(`${issuer}/v1/me`, { headers: { authorization: `Bearer ${token}` } }),
    issuer,
    { signingAlgorithms: ["EdDSA"], ...plain },
  );
const verified = await verify(accessToken);

let refused = false;
try {
  await verify(accessToken.slice(0, -8) + "AAAAAAAA");
} catch {
  refused = true;
}

const client = { client_id: clientId };
const secret = oauth.ClientSecretBasic(clientSecret);
const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    server,
    client,
    await oauth.introspectionRequest(server, client, secret, token, plain),
  );
const active = await introspect(accessToken);

const page = { client_id: "a-page", token_endpoint_auth_method: "none" };
const refreshed = await oauth.processRefreshTokenResponse(
  server,
  page,
  await oauth.refreshTokenGrantRequest(server, page, oauth.None(), refreshToken, plain),
);

const revoke = async (token) =>
  oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, secret, token, plain),
  );
await revoke(refreshed.refresh_token);
await revoke("unknown");
const after = await introspect(accessToken);

const powerless = { client_id: powerlessId };
const itsSecret = oauth.ClientSecretBasic(powerlessSecret);
let denied = null;
try {
  await oauth.processIntrospectionResponse(
    server,
    powerless,
    await oauth.introspectionRequest(server, powerless, itsSecret, accessToken, plain),
  );
} catch (refusal) {
  denied = refusal.error;
}

process.stdout.write(
  JSON.stringify({ server, verified, refused, active, refreshed, after, denied }),
);
