// Program B: attaches the segment of program A and prints each message that A rings for.
//
//     g++ -o b b.cpp && ./b PATH ID FIFO
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 4) {
		std::cerr << "usage: b PATH ID FIFO\n";
		return 2;
	}
	key_t key = ftok(argv[1], std::atoi(argv[2]));
	if (key == -1) {
		std::perror("ftok");
		return 1;
	}
	int shmid = shmget(key, 4096, 0600);
	if (shmid < 0) {
		std::perror("shmget");
		return 1;
	}
	const char *memory = static_cast<const char *>(shmat(shmid, nullptr, SHM_RDONLY));
	if (memory == reinterpret_cast<const char *>(-1)) {
		std::perror("shmat");
		return 1;
	}
	int bell = open(argv[3], O_RDONLY); // waits for A
	if (bell < 0) {
		std::perror("open");
		return 1;
	}
	for (char code; read(bell, &code, 1) == 1 && code == 'a';)
		std::cout << "B got: " << memory << std::endl;
	std::cout << "B stops" << std::endl;
	close(bell);
	shmdt(memory);
}
