// Bothost is a main process with two bots as child processes, which it talks with, watches over, and restarts: one is a
// function of this program, the other a Python script. Every three seconds it sends a text to each of the
// first bot's channels; after the second time it kills that bot with SIGKILL, to show what happens then.
//
//	$ go run ./examples/bothost
//	hook: before the start of nonebot
//	event online map[bot:nonebot life:1 owner:liteyuki]
//	nonebot | event online map[bot:nonebot life:1 owner:liteyuki]
//	hook: after the start of nonebot
//	…
//	nonebot | Passive receive: I am liteyuki main process passive
//	nonebot | Active receive: I am liteyuki main process active
//	pybot | Active receive: I am liteyuki main process active
//	Passive receive: pybot got: I am liteyuki main process active
//	…
//	hook: unexpected end of nonebot: killed by SIGKILL
//	hook: before the restart of nonebot
//	…
//	storage: answers = 4
//	storage: owner = liteyuki
//	storage: received = 10
//
// What to look at:
//
//   - Each process X has two channels, X-active and X-passive. The main process gets its side of them from the manager, and the bot
//     finds the other at hand, without names: talk in host.go, bot.go. A bot that is restarted goes on with the same channels.
//   - What comes is received actively, in a loop, or passively, by handlers with filters. Every process may register handlers.
//   - Storage and topic lie in shared memory, and have no server. The count of what the bot received goes on over its
//     death; an event gets to everybody who is subscribed.
//   - Python needs no package: pybot.py talks over multiprocessing.connection, and python.go carries what is sent to the channel
//     pybot-active there and back. So whoever talks with it need not know what it is.
//   - Whatever ends this program, SIGKILL too, no bot survives it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/proc"
)

func main() {
	proc.Register("nonebot", nonebot)
	proc.Init() // does not return in the bot

	var h host
	flag.DurationVar(&h.interval, "interval", 3*time.Second, "how long from one round of messages to the next")
	flag.IntVar(&h.rounds, "rounds", 4, "how many rounds; 0 is until Ctrl-C")
	flag.IntVar(&h.kill, "kill", 2, "after which `round` the bot is killed; 0 is never")
	flag.StringVar(&h.python, "python", "python3", "a Python, 3.8 or later; without one there is no pybot")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := h.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
