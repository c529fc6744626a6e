// A small MCP server for the tests, with streamable HTTP and without any sign-in of its own: the gate stands in front of it.
//
//   node mcp-server.mjs 20001
//
// At /mcp its tool `whoami` tells the identity headers of the request that called it.
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

const IDENTITY = ['remote-user', 'remote-email', 'remote-groups', 'authorization'];

function whoami(_, { requestInfo }) {
  const told = IDENTITY.map((name) => [name, requestInfo.headers[name] ?? null]);
  return { content: [{ type: 'text', text: JSON.stringify(Object.fromEntries(told)) }] };
}

async function answer(request, response) {
  if (new URL(request.url, 'http://localhost').pathname !== '/mcp') {
    response.statusCode = 404;
    return response.end();
  }
  // Without sessions: a server and a transport for each request.
  const server = new McpServer({ name: 'neighbour', version: '1.0.0' });
  server.registerTool('whoami', { description: 'Tells who calls.' }, (extra) => whoami({}, extra));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on('close', () => transport.close());
  await server.connect(transport);
  return transport.handleRequest(request, response);
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
