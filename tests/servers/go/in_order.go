// Small requests (a number of 8 bytes) are answered by a goroutine each, larger ones at once.
package main

import (
	"net"
	"sync"
)

func echo(client net.Conn) {
	var pending sync.WaitGroup
	serve(client, func(bytes []byte) error {
		if len(bytes) != 8 {
			_, err := client.Write(bytes)
			return err
		}
		number := append([]byte(nil), bytes...)
		pending.Add(1)
		go func() { // FAULT: two goroutines of one client run in any order.
			defer pending.Done()
			client.Write(number)
		}()
		return nil
	})
}

func main() { accept(listen(), echo) }
