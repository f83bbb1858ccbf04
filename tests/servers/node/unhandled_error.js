// Handles the errors of a client only while something is unsent.
'use strict';
require('./listen')((client) => {
  const failed = () => client.destroy();
  client.on('end', () => client.end());
  // FAULT: a reset while the client is idle or is received from is an 'error' too. Without a handler it ends the process.
  client.on('data', (bytes) => {
    client.write(bytes);
    if (!client.writableNeedDrain) return;
    client.on('error', failed);
    client.pause();
    client.once('drain', () => {
      client.off('error', failed);
      client.resume();
    });
  });
});
