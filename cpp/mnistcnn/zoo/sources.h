#pragma once
#include <vector>

#include "mnistcnn/zoo/zoo.h"

// Networks, one function and one file per project.
namespace mnistcnn::zoo {

std::vector<Entry> assignment7_entries();
std::vector<Entry> era5_entries();
std::vector<Entry> budget_entries();
std::vector<Entry> session7_entries();
std::vector<Entry> recognition_entries();
std::vector<Entry> our_entries();

}  // namespace mnistcnn::zoo
