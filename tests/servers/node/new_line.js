// Adds an end of line to each answer.
'use strict';
require('./listen')((client) => {
  client.on('error', () => client.destroy());
  client.on('end', () => client.end());
  client.on('drain', () => client.resume());
  client.on('data', (bytes) => {
    if (!client.write(Buffer.concat([bytes, Buffer.from('\n')]))) client.pause(); // FAULT: nobody has asked for it.
  });
});
