// Counts the requests of one byte that a client sends in a row, in a byte.
package main

import (
	"errors"
	"net"
)

func echo(client net.Conn) {
	var tiny uint8
	receive(client, func(bytes []byte) error {
		if len(bytes) > 1 {
			tiny = 0
		} else if tiny++; tiny == 0 { // FAULT: the 256th makes it 0 again, which is taken for an attack.
			return errors.New("no more tiny requests")
		}
		_, err := client.Write(bytes)
		return err
	})
}

func main() { accept(listen(), echo) }
