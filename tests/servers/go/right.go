// A right server: a goroutine for each client. Write goes on until all is sent.
package main

import "net"

func echo(client net.Conn) {
	receive(client, func(bytes []byte) error {
		_, err := client.Write(bytes)
		return err
	})
}

func main() { accept(listen(), echo) }
