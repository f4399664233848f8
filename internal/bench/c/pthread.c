/* What a C program gets: a robust process-shared pthread mutex, alone and between two processes.
   pthread alone MS   -> nanoseconds a lock and unlock
   pthread pair MS    -> turns of either process, and the counter that they kept under the mutex */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	_Alignas(128) pthread_mutex_t mutex;
	volatile uint64_t counter;
	_Alignas(128) atomic_int ready;
	_Alignas(128) uint64_t turns[2][16];
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static uint64_t turn(struct shared *s, double ns)
{
	double end = now() + ns;
	uint64_t n = 0;
	for (;; n++) {
		if (n % 256 == 0 && now() >= end)
			return n;
		if (pthread_mutex_lock(&s->mutex) != 0)
			abort();
		s->counter++;
		pthread_mutex_unlock(&s->mutex);
	}
}

static void bind_to(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	double ns = atof(argv[2]) * 1e6;
	struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return 1;
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&s->mutex, &a);
	if (strcmp(argv[1], "alone") == 0) {
		bind_to(0);
		double start = now();
		uint64_t n = turn(s, ns);
		printf("%.3f\n", (now() - start) / n);
		return 0;
	}
	pid_t pid[2];
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			bind_to(i);
			atomic_fetch_add(&s->ready, 1);
			while (atomic_load(&s->ready) < 2)
				;
			s->turns[i][0] = turn(s, ns);
			_exit(0);
		}
	}
	for (int i = 0; i < 2; i++) {
		int status;
		if (pid[i] < 0 || waitpid(pid[i], &status, 0) < 0 || status != 0)
			return 1;
	}
	printf("%lu %lu %lu\n", (unsigned long)s->turns[0][0], (unsigned long)s->turns[1][0], (unsigned long)s->counter);
	return 0;
}
