// What the Node servers share: listen on the port of the command line, and go on whatever happens to one client.
'use strict';
const net = require('node:net');

module.exports = function listen(serve) {
  if (process.argv.length !== 3) {
    console.error(`usage: ${process.argv[1]} PORT`);
    process.exit(2);
  }
  // With allowHalfOpen, a client that ends its half still gets its answers.
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, serve);
  server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
  // Later errors are those of accept, for lack of a descriptor for one.
  server.on('listening', () => server.on('error', (error) => console.error(error.message)));
  return server;
};
