// At SIGTERM it accepts no more clients, and waits until the last one has left.
'use strict';
const server = require('./listen')((client) => {
  client.on('error', () => client.destroy());
  client.pipe(client);
});
// FAULT: clients stay as long as they like. There has to be a limit.
process.on('SIGTERM', () => server.close(() => process.exit()));
