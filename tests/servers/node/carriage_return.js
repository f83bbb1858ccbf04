// Treats what it receives as text, and removes the carriage returns that Windows puts at the end of a line.
'use strict';
const { Transform } = require('node:stream');
require('./listen')((client) => {
  client.on('error', () => client.destroy());
  const unixLines = new Transform({
    transform(bytes, _, done) {
      const text = bytes.toString('latin1');
      done(null, Buffer.from(text.replaceAll('\r', ''), 'latin1')); // FAULT: the bytes are the client's, also those of value 13.
    },
  });
  client.pipe(unixLines).pipe(client);
});
