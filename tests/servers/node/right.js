// A right server: pipe holds back a client that does not read, and ends the connection when the client has ended.
'use strict';
require('./listen')((client) => {
  client.on('error', () => client.destroy());
  client.pipe(client);
});
