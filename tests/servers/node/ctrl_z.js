// Ends at Ctrl-Z as at Ctrl-C.
'use strict';
require('./listen')((client) => {
  client.on('error', () => client.destroy());
  client.pipe(client);
});
process.on('SIGTSTP', () => process.exit(1)); // FAULT: Ctrl-Z stops a program, which `fg` and `bg` continue.
