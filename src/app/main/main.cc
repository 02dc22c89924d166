#include <iostream>

#include "app/command_line.h"

int main(int argc, char** argv) { return millrace::app::run_command_line(argc, argv, std::cout, std::cerr); }
